import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { StarError } from '../../core/errors.js';
import { filesOf, manifestSchema, type ScorerManifest } from './manifest.js';

const NPM_PREFIX = 'npm:';

/** A scorer bundle whose files are there and have the declared hashes. */
export interface ScorerBundle<M extends ScorerManifest = ScorerManifest> {
  readonly manifest: M;
  /** SHA-256 over the canonical manifest, which holds the hashes of all files; hexadecimal. */
  readonly bundleHash: string;
  /** Absolute path of a file by its manifest entry. */
  locate(entry: { readonly path: string }): string;
}

/**
 * Reads a bundle folder and checks every file that its manifest names.
 *
 * @param folder absolute path
 * @throws StarError SCORER_NOT_LOADABLE that names the file and what is wrong with it
 */
export async function loadScorerBundle(folder: string): Promise<ScorerBundle> {
  const manifest = parseManifest(join(folder, 'manifest.yaml'), await readManifest(folder));
  const locate = (entry: { readonly path: string }): string => locateFile(folder, entry.path);
  for (const entry of filesOf(manifest)) await checkFile(locate(entry), entry.sha256);
  return { manifest, bundleHash: sha256(canonicalJson(manifest)), locate };
}

async function readManifest(folder: string): Promise<string> {
  const path = join(folder, 'manifest.yaml');
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw notLoadable(`no scorer bundle at ${folder}: ${path} cannot be read`, error);
  }
}

function parseManifest(path: string, text: string): ScorerManifest {
  try {
    return manifestSchema.parse(parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw notLoadable(`${path} is not a valid manifest: ${why}`, error);
  }
}

function locateFile(folder: string, path: string): string {
  if (path.startsWith(NPM_PREFIX)) return locateInPackage(path.slice(NPM_PREFIX.length));
  const absolute = resolve(folder, path);
  const inside = relative(folder, absolute);
  if (inside.startsWith('..') || isAbsolute(inside)) {
    throw notLoadable(`file ${path} lies outside the bundle ${folder}; use a path inside it or npm:<package>/<file>`);
  }
  return absolute;
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

async function checkFile(path: string, expected: string): Promise<void> {
  let content: Uint8Array;
  try {
    content = await readFile(path);
  } catch (error) {
    throw notLoadable(`${path} is named in the manifest but cannot be read`, error);
  }
  const received = sha256(content);
  if (received !== expected) {
    throw notLoadable(
      `${path} has SHA-256 ${received}, its manifest expects ${expected}; restore the file or update it`,
    );
  }
}

/** JSON with sorted keys, so that the hash does not depend on the order or layout of the YAML file. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

function notLoadable(message: string, cause?: unknown): StarError {
  return new StarError('SCORER_NOT_LOADABLE', message, {}, cause);
}
