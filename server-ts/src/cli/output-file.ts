import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { StarError } from '../core/errors.js';

/**
 * Makes sure, before the work that fills it, that a file can be written. Its folder is made; what is in it stays until then.
 *
 * @returns replaces the content of the file
 * @throws StarError ARGUMENT_INVALID
 */
export function outputFile(path: string): (text: string) => void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    closeSync(openSync(path, 'a'));
  } catch (error) {
    throw new StarError('ARGUMENT_INVALID', `${path} cannot be written: ${StarError.from(error).message}`, {}, error);
  }
  return (text) => writeFileSync(path, text);
}
