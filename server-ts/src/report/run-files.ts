import { z } from 'zod';
import { StarError } from '../core/errors.js';
import type { ExportOutcome } from '../core/types.js';
import type { ArtifactStore } from '../pipeline/ports.js';
import { EXPORT_PATH, MODEL_PATH } from '../pipeline/run-session.js';

/** Maps of a rollout as `pipeline/rollout-artifacts.ts` writes them. */
const mapsSchema = z.object({
  prompt: z.string(),
  concepts: z.array(z.object({ name: z.string(), weight: z.number() })),
  spans: z.array(z.object({ start: z.int(), end: z.int(), conceptIndex: z.int() })),
  stepIndexes: z.array(z.int()),
  /** S, h, w. */
  shape: z.tuple([z.int().min(1), z.int().min(1), z.int().min(1)]),
  /** Row-major, mean 1 over h, w. */
  values: z.array(z.number()),
});

/** Allocation maps of a rollout: [S, h, w] with the words that they came from. */
export type MapsFile = z.infer<typeof mapsSchema>;

const exportSchema = z.object({ path: z.string(), format: z.string() });
const modelSchema = z.object({ environment: z.record(z.string(), z.string()) });

/** Reads a file of a run that may not be there. @throws StarError other than NOT_FOUND */
async function readOptional(artifacts: ArtifactStore, runId: string, path: string): Promise<Uint8Array | null> {
  try {
    return await artifacts.get(runId, path);
  } catch (error) {
    const known = StarError.from(error);
    if (known.reason === 'NOT_FOUND') return null;
    throw known;
  }
}

async function readJson<T extends z.ZodType>(
  artifacts: ArtifactStore,
  place: { readonly runId: string; readonly path: string },
  schema: T,
): Promise<z.infer<T> | null> {
  const bytes = await readOptional(artifacts, place.runId, place.path);
  if (bytes === null) return null;
  const parsed = schema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
  if (parsed.success) return parsed.data;
  throw new StarError('STORAGE_FAILED', `${place.path} of run ${place.runId} is damaged: ${parsed.error.message}`);
}

/** Maps of a rollout; null when the file is gone. @throws StarError STORAGE_FAILED for a damaged file */
export async function readMaps(artifacts: ArtifactStore, runId: string, path: string): Promise<MapsFile | null> {
  const file = await readJson(artifacts, { runId, path }, mapsSchema);
  if (file === null) return null;
  const [steps, rows, columns] = file.shape;
  if (steps === file.stepIndexes.length && file.values.length === steps * rows * columns) return file;
  throw new StarError(
    'STORAGE_FAILED',
    `${path} of run ${runId} is damaged: shape [${file.shape.join(', ')}] does not fit ${file.stepIndexes.length} steps and ${file.values.length} values`,
  );
}

/** Where the trained part was exported to; null: not yet. */
export function readExport(artifacts: ArtifactStore, runId: string): Promise<ExportOutcome | null> {
  return readJson(artifacts, { runId, path: EXPORT_PATH }, exportSchema);
}

/** Versions and devices of the worker; empty where unknown. */
export async function readEnvironment(artifacts: ArtifactStore, runId: string): Promise<Record<string, string>> {
  return (await readJson(artifacts, { runId, path: MODEL_PATH }, modelSchema))?.environment ?? {};
}

/** A PNG of a run as data URI; null when it is gone. */
export async function readPicture(artifacts: ArtifactStore, runId: string, path: string): Promise<string | null> {
  const bytes = await readOptional(artifacts, runId, path);
  return bytes === null ? null : pngUri(bytes);
}

/** PNG file as data URI. */
export function pngUri(bytes: Uint8Array): string {
  return `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`;
}
