import { createHash } from 'node:crypto';
import { createReadStream, existsSync, realpathSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { StarError } from '../../core/errors.js';
import type { BundleFile } from './manifest-fields.js';

/** What starts the path of a file in an installed package. */
export const NPM_PREFIX = 'npm:';

/** Most bytes that all files of a bundle may have together, weights beside the graphs included. */
export const DEFAULT_MAX_BUNDLE_BYTES = 4 * 1024 ** 3;

/**
 * Absolute path of a file that a manifest names.
 *
 * @param folder of the bundle
 * @throws StarError SCORER_NOT_LOADABLE when it lies outside, by its path or through a link, or its package is not installed
 */
export function locateFile(folder: string, path: string): string {
  if (path.startsWith(NPM_PREFIX)) return locateInPackage(path.slice(NPM_PREFIX.length));
  const absolute = resolve(folder, path);
  if (isOutside(folder, absolute)) {
    throw notLoadable(`file ${path} lies outside the bundle ${folder}; use a path inside it or npm:<package>/<file>`);
  }
  if (existsSync(absolute) && isOutside(realpathSync(folder), realpathSync(absolute))) {
    throw notLoadable(
      `file ${path} of the bundle ${folder} is a link to ${realpathSync(absolute)}, outside the bundle; put the file itself there`,
    );
  }
  return absolute;
}

function isOutside(folder: string, path: string): boolean {
  const inside = relative(folder, path);
  return inside === '' || inside === '..' || inside.startsWith('../') || isAbsolute(inside);
}

/** Finds a file of an installed package without its `exports`, which hide data files. */
function locateInPackage(path: string): string {
  const parts = path.split('/');
  const name = parts.slice(0, path.startsWith('@') ? 2 : 1).join('/');
  const file = parts.slice(path.startsWith('@') ? 2 : 1);
  if (file.includes('..')) throw notLoadable(`npm:${path} must not contain ".."`);
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const found = folders.map((folder) => join(folder, name)).find((folder) => existsSync(join(folder, 'package.json')));
  if (found === undefined) throw notLoadable(`package ${name} of npm:${path} is not installed; run npm ci`);
  return join(found, ...file);
}

/**
 * Checks that files are there, small enough together, and have the declared hashes. Sizes are looked at first, so that nothing
 * large is read in vain.
 *
 * @throws StarError SCORER_NOT_LOADABLE that names the file and what is wrong with it
 */
export async function checkFiles(folder: string, files: readonly BundleFile[], maxBytes: number): Promise<void> {
  let bytes = 0;
  for (const { path } of files) bytes += await sizeOf(locateFile(folder, path));
  if (bytes > maxBytes) {
    throw notLoadable(`the files of the bundle ${folder} have ${bytes} bytes; at most ${maxBytes} are allowed`);
  }
  for (const { path, sha256 } of files) await checkHash(locateFile(folder, path), sha256);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw notLoadable(`${path} is named in the manifest but cannot be read`, error);
  }
}

async function checkHash(path: string, expected: string): Promise<void> {
  const received = await sha256File(path);
  if (received === expected) return;
  throw notLoadable(`${path} has SHA-256 ${received}, its manifest expects ${expected}; restore the file or update it`);
}

/** In pieces: weights may be larger than a buffer can be. */
async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  } catch (error) {
    throw notLoadable(`${path} is named in the manifest but cannot be read`, error);
  }
  return hash.digest('hex');
}

/** A bundle that is missing, damaged or refused. */
export function notLoadable(message: string, cause?: unknown): StarError {
  return new StarError('SCORER_NOT_LOADABLE', message, {}, cause);
}
