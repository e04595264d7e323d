import { z } from 'zod';
import { StarError } from './errors.js';
import type { PromptRecord, Task } from './types.js';

/** A prompt file as text. */
export interface PromptFile {
  /** Named in messages. */
  readonly name: string;
  readonly format: 'jsonl' | 'txt';
  readonly text: string;
}

const clause = z.object({
  class: z.string().min(1),
  count: z.int().min(1),
  color: z.string().min(1).optional(),
  position: z.tuple([z.enum(['left of', 'right of', 'above', 'below']), z.int().min(0)]).optional(),
});

const genevalLine = z.object({
  tag: z.string().min(1),
  prompt: z.string().min(1),
  include: z.array(clause).min(1),
  exclude: z.array(z.object({ class: z.string().min(1), count: z.int().min(1) })).default([]),
});

const plainLine = z.object({
  tag: z.string().min(1).optional(),
  prompt: z.string().min(1),
  text: z.string().optional(),
});

/** Double quotes of other kinds, which the original reward does not know either. */
const CURLY_QUOTES = /[\u201c-\u201f\u00ab\u00bb\u2033\u2036\uff02]/;

/**
 * Reads the prompts of a task. Blank lines are skipped; white space around a line is removed.
 *
 * @param task geneval needs `.jsonl` with metadata; ocr and pickscore also take one prompt a line
 * @throws StarError PROMPT_INVALID with file and line number
 */
export function parsePromptFile(file: PromptFile, task: Task): PromptRecord[] {
  if (task === 'geneval' && file.format === 'txt') {
    throw new StarError('PROMPT_INVALID', `${file.name}: GenEval prompts need metadata, use a .jsonl file`);
  }
  const records: PromptRecord[] = [];
  file.text.split(/\r?\n/).forEach((line, index) => {
    const text = index === 0 ? line.replace(/^\uFEFF/, '').trim() : line.trim();
    if (text !== '') records.push(parseLine(text, file, task, `${file.name}:${index + 1}`));
  });
  if (records.length === 0) throw new StarError('PROMPT_INVALID', `${file.name} has no prompts`);
  return records;
}

/**
 * Text between the first two straight double quotes, as the scorer reads it (rewards.md 2.1).
 *
 * @returns null where there is none or where it is empty without its spaces
 */
export function quotedText(prompt: string): string | null {
  const parts = prompt.split('"');
  const target = parts[1];
  if (parts.length < 3 || target === undefined || target.replaceAll(' ', '') === '') return null;
  return target;
}

function parseLine(line: string, file: PromptFile, task: Task, place: string): PromptRecord {
  if (file.format === 'txt') return plainRecord({ prompt: line }, task, place);
  const value = parseJson(line, place);
  if (task !== 'geneval') return plainRecord(check(plainLine, value, place), task, place);
  const record = check(genevalLine, value, place);
  record.include.forEach((entry, index) => {
    if (entry.position !== undefined && entry.position[1] >= index) {
      const received = `include[${index}] refers to ${entry.position[1]}`;
      throw new StarError('PROMPT_INVALID', `${place}: position must refer to an earlier include entry, ${received}`);
    }
  });
  return { ...record, targetText: null };
}

function plainRecord(line: z.infer<typeof plainLine>, task: Task, place: string): PromptRecord {
  const common = { prompt: line.prompt, tag: line.tag ?? task, include: [], exclude: [] };
  if (task !== 'ocr') return { ...common, targetText: null };
  const targetText = quotedText(line.prompt);
  if (targetText === null) {
    throw new StarError(
      'PROMPT_INVALID',
      `${place}: an OCR prompt needs its text between straight double quotes, ${quoteFault(line.prompt)}; received ${shorten(line.prompt)}`,
    );
  }
  if (line.text !== undefined && line.text !== targetText) {
    const values = `text is ${JSON.stringify(line.text)}, the quotes hold ${JSON.stringify(targetText)}`;
    throw new StarError('PROMPT_INVALID', `${place}: ${values}; make them equal`);
  }
  return { ...common, targetText };
}

/** What is wrong with the quotes of a prompt that has no target. */
function quoteFault(prompt: string): string {
  const straight = prompt.split('"').length - 1;
  if (straight >= 2) return 'there is nothing but spaces between the first two';
  if (straight === 1) return 'there is only one';
  if (CURLY_QUOTES.test(prompt)) return 'these are curly ones: replace them by "';
  return 'there are none';
}

function parseJson(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new StarError('PROMPT_INVALID', `${place}: not a JSON object: ${shorten(line)}`, {}, error);
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown, place: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => `${issue.path.join('.') || 'line'}: ${issue.message}`);
  throw new StarError('PROMPT_INVALID', `${place}: ${issues.join('; ')}`);
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
