import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { canonicalHash } from '../../core/canonical-json.js';
import { checkFiles, DEFAULT_MAX_BUNDLE_BYTES, locateFile, notLoadable } from './bundle-files.js';
import { filesOf, manifestSchema, type ScorerManifest } from './manifest.js';

/** What a bundle folder says of itself; its files may be missing or damaged. */
export interface DeclaredBundle<M extends ScorerManifest = ScorerManifest> {
  readonly manifest: M;
  /** SHA-256 over the canonical manifest, which holds the hashes of all files; hexadecimal. */
  readonly bundleHash: string;
}

/** A scorer bundle whose files are there and have the declared hashes. */
export interface ScorerBundle<M extends ScorerManifest = ScorerManifest> extends DeclaredBundle<M> {
  /** Absolute path of a file by its manifest entry. */
  locate(entry: { readonly path: string }): string;
}

/**
 * Reads a bundle folder and checks every file that its manifest names.
 *
 * @param folder absolute path
 * @param maxBytes limit for all files together
 * @throws StarError SCORER_NOT_LOADABLE that names the file and what is wrong with it
 */
export async function loadScorerBundle(
  folder: string,
  maxBytes: number = DEFAULT_MAX_BUNDLE_BYTES,
): Promise<ScorerBundle> {
  const declared = await readDeclaredBundle(folder);
  await checkFiles(folder, filesOf(declared.manifest), maxBytes);
  return { ...declared, locate: ({ path }) => locateFile(folder, path) };
}

/**
 * Reads the manifest alone.
 *
 * @param folder absolute path
 * @throws StarError SCORER_NOT_LOADABLE when it is missing or not valid
 */
export async function readDeclaredBundle(folder: string): Promise<DeclaredBundle> {
  const path = join(folder, 'manifest.yaml');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw notLoadable(`no scorer bundle at ${folder}: ${path} cannot be read`, error);
  }
  const manifest = parseManifest(path, text);
  return { manifest, bundleHash: canonicalHash(manifest) };
}

function parseManifest(path: string, text: string): ScorerManifest {
  try {
    return manifestSchema.parse(parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw notLoadable(`${path} is not a valid manifest: ${why}`, error);
  }
}
