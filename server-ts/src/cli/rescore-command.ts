import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StarError } from '../core/errors.js';
import { rescoreRun } from '../offline-scoring.js';
import type { RescoreReport } from '../pipeline/rescore.js';
import { type CommandContext, dataDirOf } from './command-context.js';
import { EXIT } from './exit-code.js';
import { readSpec } from './reward-commands.js';
import { comparisonCells, comparisonLines } from './reward-text.js';
import { textTable } from './text-table.js';

/** Groups that are listed by themselves. */
const LISTED_GROUPS = 5;

/** Options of `star rescore`. */
export interface RescoreOptions {
  readonly reward: string;
  /** `a..b` */
  readonly iterations?: string;
  readonly dataDir?: string;
  readonly json?: boolean;
}

/** `star rescore RUN --reward SPEC`: works on the data folder, beside a control plane or without one. @returns exit code */
export async function rescoreCommand(context: CommandContext, runId: string, options: RescoreOptions): Promise<number> {
  const dataDir = dataDirOf(context, options);
  if (!existsSync(join(dataDir, 'star.db'))) {
    throw new StarError('NOT_FOUND', `there are no runs in ${dataDir}; name another folder with --data-dir`);
  }
  const rewardText = readSpec(options.reward);
  const iterations = options.iterations === undefined ? null : iterationRange(options.iterations);
  const abort = new AbortController();
  const end = context.onInterrupt(() => abort.abort());
  try {
    const name = options.reward;
    const report = await rescoreRun({ dataDir, runId, rewardText, name, iterations, signal: abort.signal });
    context.output.print(options.json === true ? JSON.stringify(report, null, 2) : rescoreText(report));
    return EXIT.ok;
  } finally {
    end();
  }
}

/** `3..9`, or one iteration: `3`. @throws StarError ARGUMENT_INVALID */
export function iterationRange(text: string): readonly [number, number] {
  const [, first, last = first] = /^(\d+)(?:\.\.(\d+))?$/.exec(text) ?? [];
  if (first !== undefined && Number(first) <= Number(last)) return [Number(first), Number(last)];
  throw new StarError('ARGUMENT_INVALID', `expected --iterations FIRST..LAST, received ${JSON.stringify(text)}`);
}

/** What `star rescore` says: all pictures, every kind of prompt, and the groups whose order would change most. */
export function rescoreText({ runId, iterations, iterationsWithoutPictures, ...report }: RescoreReport): string {
  const others = iterationsWithoutPictures === 0 ? '' : ` (${iterationsWithoutPictures} others kept no pictures)`;
  const heading = ['PICTURES', 'MISSING', 'MEAN', 'SAME SIGN', 'OPPOSITE', 'SPEARMAN', 'KENDALL'];
  const tags = report.byTag.map(({ tag, comparison }) => [tag, ...comparisonCells(comparison)]);
  const changed = report.groups
    .filter(({ comparison }) => comparison.kendall !== null)
    .sort((a, b) => (a.comparison.kendall ?? 0) - (b.comparison.kendall ?? 0))
    .slice(0, LISTED_GROUPS)
    .map((group) => [`${group.iteration}: ${group.prompt}`, ...comparisonCells(group.comparison)]);
  return [
    `${runId}  stored reward -> other reward, iterations ${iterations.join(', ')}${others}`,
    ...comparisonLines(report.overall),
    textTable([['KIND OF PROMPT', ...heading], ...tags]),
    ...(changed.length === 0 ? [] : [textTable([['GROUPS THAT CHANGE MOST', ...heading], ...changed])]),
  ].join('\n');
}
