import { readFileSync } from 'node:fs';
import { parse, parseDocument } from 'yaml';
import { readRecipe } from '../config/read-recipe.js';
import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';

/** A recipe as it will be sent. */
export interface RecipeSource {
  readonly text: string;
  readonly recipe: Recipe;
}

/**
 * Applies `key.path=value` to recipe text; values are YAML, list entries are numbered from 0.
 *
 * @throws StarError ARGUMENT_INVALID for an assignment without `=` or a path through a plain value
 */
export function applyAssignments(text: string, assignments: readonly string[]): string {
  if (assignments.length === 0) return text;
  const document = parseDocument(text);
  for (const assignment of assignments) {
    const at = assignment.indexOf('=');
    if (at < 1) {
      throw new StarError('ARGUMENT_INVALID', `expected --set key.path=value, received ${JSON.stringify(assignment)}`);
    }
    const path = assignment.slice(0, at).split('.').map(pathPart);
    try {
      document.setIn(path, parse(assignment.slice(at + 1)));
    } catch (error) {
      throw new StarError('ARGUMENT_INVALID', `--set ${assignment}: ${StarError.from(error).message}`, {}, error);
    }
  }
  return document.toString();
}

function pathPart(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part;
}

/**
 * Reads a recipe file with the changes of the command line.
 *
 * @throws StarError NOT_FOUND for a missing file; RECIPE_INVALID naming line, field and fix; ARGUMENT_INVALID
 */
export function readRecipeFile(path: string, assignments: readonly string[]): RecipeSource {
  let original: string;
  try {
    original = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const what = code === 'ENOENT' ? 'there is no such file; the shipped recipes are in recipes/' : String(code);
    throw new StarError('NOT_FOUND', `recipe ${path} cannot be read: ${what}`, {}, error);
  }
  const text = applyAssignments(original, assignments);
  return { text, recipe: readRecipe(text, path) };
}
