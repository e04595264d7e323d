import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { parsePromptFile } from '../core/prompt-records.js';
import type { PromptRecord, Task } from '../core/types.js';

/**
 * Reads the prompt files of a recipe.
 *
 * @param root folder that relative paths start from
 * @throws StarError PROMPT_INVALID for a file that is missing or has a bad line
 */
export async function loadPrompts(
  recipe: Recipe,
  root: string,
): Promise<{ train: PromptRecord[]; evaluation: PromptRecord[] }> {
  const { train, evaluation } = recipe.prompts;
  return {
    train: await readPrompts(resolve(root, train), recipe.task),
    evaluation: await readPrompts(resolve(root, evaluation), recipe.task),
  };
}

async function readPrompts(path: string, task: Task): Promise<PromptRecord[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new StarError(
      'PROMPT_INVALID',
      `prompt file ${path} cannot be read: ${StarError.from(error).message}`,
      {},
      error,
    );
  }
  return parsePromptFile({ name: path, format: path.endsWith('.txt') ? 'txt' : 'jsonl', text }, task);
}
