import { readFile } from 'node:fs/promises';
import type * as ort from 'onnxruntime-node';
import { openSession } from '../onnx-session.js';
import { fuseGraph } from './graph-fusion.js';

/**
 * Opens a graph with the rewrites that make PP-OCR fast. The file on disk, whose hash is in the lineage, stays as it is.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the runtime refuses the graph
 */
export async function openFusedSession(path: string): Promise<ort.InferenceSession> {
  return openSession(path, fuseGraph(await readFile(path)));
}
