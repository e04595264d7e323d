import { readFileSync } from 'node:fs';
import { StarError } from '../core/errors.js';
import { GENEVAL_OBJECTS } from '../core/geneval-objects.js';
import { drawGenevalPrompts, evaluationCounts, splitObjects, trainingCounts } from '../core/geneval-prompts.js';
import { parsePromptFile } from '../core/prompt-records.js';
import type { CommandContext } from './command-context.js';
import { EXIT } from './exit-code.js';
import { outputFile } from './output-file.js';

/** Options of `star prompts geneval`. */
export interface PromptsOptions {
  readonly kind: 'train' | 'test';
  readonly seed: string;
  /** Lines of a training set; prompts per kind of a test set. */
  readonly count?: string;
  readonly objects: 'all' | 'seen' | 'unseen';
  readonly exclude: readonly string[];
  readonly out: string;
}

const DEFAULT_COUNT = { train: 50_000, test: 100 } as const;
/** Classes that Flow-GRPO keeps from training. */
const UNSEEN_CLASSES = 20;

/** `star prompts geneval`. @returns exit code */
export async function genevalPromptsCommand(context: CommandContext, options: PromptsOptions): Promise<number> {
  const seed = Number(options.seed);
  const count = options.count === undefined ? DEFAULT_COUNT[options.kind] : Number(options.count);
  const objects = options.objects === 'all' ? GENEVAL_OBJECTS : splitObjects(seed, UNSEEN_CLASSES)[options.objects];
  const counts = options.kind === 'train' ? trainingCounts(count) : evaluationCounts(count, objects.length);
  const lines = drawGenevalPrompts({ seed, counts, objects, exclude: new Set(options.exclude.flatMap(promptsOf)) });
  outputFile(options.out)(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const different = new Set(lines.map(({ prompt }) => prompt)).size;
  context.output.print(`${options.out}: ${lines.length} lines, ${different} different prompts`);
  return EXIT.ok;
}

function promptsOf(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new StarError('NOT_FOUND', `prompt file ${path} cannot be read: ${StarError.from(error).message}`, {}, error);
  }
  return parsePromptFile({ name: path, format: 'jsonl', text }, 'geneval').map(({ prompt }) => prompt);
}
