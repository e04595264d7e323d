import { readFileSync } from 'node:fs';
import { recipeSchema } from '../src/config/recipe.js';
import { exportCode } from '../src/report/export-code.js';

/**
 * Prints the lines of diffusers code of a report, for the worker's tests. Standard input: JSON with `recipe`, `outcome`
 * ({path, format}), `modelPath` and `prompt`.
 */
const { recipe, outcome, ...options } = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(exportCode(outcome, recipeSchema.parse(recipe), options));
