import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { z } from 'zod';
import { parsePromptFile } from '../../core/prompt-records.js';
import type { PromptRecord, Task } from '../../core/types.js';
import { notLoadable } from './bundle-files.js';
import type { BundleKind, ScorerManifest } from './manifest.js';
import type { BundleFile } from './manifest-fields.js';
import type { ScorerBundle } from './scorer-bundle.js';

/**
 * Golden cases of a bundle: pictures beside it with what its scorer has to say of them. A changed graph, runtime or
 * preprocessing shows here before it shows in a reward.
 */

const caseSchema = z.strictObject({
  name: z.string().min(1),
  image: z.strictObject({
    path: z
      .string()
      .regex(/^[\w./-]+$/)
      .describe('PNG file, relative to the file of the cases'),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  prompt: z.record(z.string(), z.unknown()).describe('a line of a prompt file'),
  expected: z
    .record(z.string(), z.strictObject({ value: z.number(), tolerance: z.number().min(0) }))
    .describe('by name of the reported value'),
});

const fileSchema = z.strictObject({ cases: z.array(caseSchema).min(1) });

/** One case, with its picture read. */
export interface GoldenCase {
  readonly name: string;
  readonly prompt: PromptRecord;
  readonly image: Uint8Array;
  readonly expected: Readonly<Record<string, { readonly value: number; readonly tolerance: number }>>;
}

/** Prompts of a bundle's cases are lines of a prompt file of this task. */
const TASKS: Readonly<Record<BundleKind, Task>> = {
  detector: 'geneval',
  ocr: 'ocr',
  image_text: 'pickscore',
  http: 'pickscore',
};

/**
 * Reads the cases of a bundle; none when its manifest names no file.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the file or a picture is missing, changed or not valid
 */
export async function readGoldenCases(manifest: ScorerManifest, locate: Locate): Promise<GoldenCase[]> {
  const { golden, kind } = manifest;
  if (golden === undefined) return [];
  const cases = await parseCases(locate(golden));
  return Promise.all(
    cases.map((each) => readCase(locate(golden), picturePath(golden, each, locate), each, TASKS[kind])),
  );
}

/**
 * Absolute paths of the pictures of the cases.
 *
 * @param golden entry of the manifest
 * @throws StarError SCORER_NOT_LOADABLE when the file is not valid or a picture lies outside the bundle
 */
export async function goldenPictures(golden: BundleFile, locate: Locate): Promise<string[]> {
  return (await parseCases(locate(golden))).map((each) => picturePath(golden, each, locate));
}

type Locate = ScorerBundle['locate'];
type CaseEntry = z.infer<typeof caseSchema>;

/** By the rule for every file of a bundle: nothing outside of it, through a link neither. */
function picturePath(golden: BundleFile, { image }: CaseEntry, locate: Locate): string {
  return locate({ path: posix.join(posix.dirname(golden.path), image.path) });
}

async function parseCases(path: string): Promise<CaseEntry[]> {
  const text = await readFile(path, 'utf8');
  try {
    return fileSchema.parse(JSON.parse(text)).cases;
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw notLoadable(`${path} has no valid golden cases: ${why}`, error);
  }
}

async function readCase(path: string, file: string, entry: CaseEntry, task: Task): Promise<GoldenCase> {
  const image = await readFile(file).catch((error: unknown) => {
    throw notLoadable(`${path} names ${file}, which cannot be read`, error);
  });
  const received = createHash('sha256').update(image).digest('hex');
  if (received !== entry.image.sha256) {
    throw notLoadable(`${file} has SHA-256 ${received}, ${path} expects ${entry.image.sha256}`);
  }
  const [prompt] = parsePromptFile({ name: path, format: 'jsonl', text: JSON.stringify(entry.prompt) }, task);
  if (prompt === undefined) throw notLoadable(`${path}: case ${entry.name} has no prompt`);
  return { name: entry.name, prompt, image, expected: entry.expected };
}
