import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type * as ort from 'onnxruntime-node';
import { expect, test, vi } from 'vitest';
import { loadScorerBundle, type ScorerBundle } from '../bundle/scorer-bundle.js';
import { ONNX_TYPE, onnxModel } from '../fixtures/onnx-graph.js';
import { decodePng } from '../image/rgb-image.js';
import { openSession } from '../onnx-session.js';
import { fuseGraph } from './graph-fusion.js';
import { lineBatches } from './line-recognizer.js';
import type { OcrManifest } from './ocr-manifest.js';
import { type OnnxGraph, rewriteModel } from './onnx-graph.js';
import { detectorTensor, openTextDetector } from './text-detector.js';

// Graphs run on one core, which other tests may be using.
vi.setConfig({ testTimeout: 60_000 });

const folder = fileURLToPath(new URL('../../../../scorers/ppocr-v4', import.meta.url));
const bundle = (await loadScorerBundle(folder)) as ScorerBundle<OcrManifest>;
const { manifest, locate } = bundle;

function graphOf(model: Uint8Array): OnnxGraph {
  const seen: OnnxGraph[] = [];
  rewriteModel(model, (graph) => {
    seen.push(graph);
    return graph;
  });
  return seen[0] as OnnxGraph;
}

async function run(path: string, model: Uint8Array, input: ort.Tensor): Promise<Float32Array> {
  const session = await openSession(path, model);
  const outputs = await session.run({ x: input });
  await session.release();
  return outputs[session.outputNames[0] ?? '']?.data as Float32Array;
}

const image = await decodePng(await readFile(new URL('../fixtures/word-cat.png', import.meta.url)));
const detector = await openTextDetector(bundle);
const boxes = await detector.detect(image);
await detector.close();
const [line] = [...lineBatches(image, boxes, manifest.recognizer)];

test.each([
  ['detector', manifest.detector.graph, detectorTensor(image, manifest.detector), 24],
  ['recogniser', manifest.recognizer.graph, line?.input as ort.Tensor, 28],
])('the %s computes the same with fewer passes', async (_, file, input, swishes) => {
  const model = await readFile(locate(file));
  const fused = fuseGraph(model);
  const clips = (bytes: Uint8Array): number => graphOf(bytes).nodes.filter(({ op }) => op === 'Clip').length;
  expect([clips(model), clips(fused)]).toEqual([swishes, 0]);
  const [before, after] = [await run(locate(file), model, input), await run(locate(file), fused, input)];
  const furthest = before.reduce((most, value, index) => Math.max(most, Math.abs(value - (after[index] as number))), 0);
  expect(furthest).toBeLessThan(2e-5);
  expect(before.some((value) => value > 0.5)).toBe(true);
});

test('a graph without such passes stays as it is', () => {
  const model = onnxModel({
    inputs: [{ name: 'x', type: ONNX_TYPE.float32, shape: [1, 3] }],
    outputs: [{ name: 'y', type: ONNX_TYPE.float32, shape: [1, 3] }],
    nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }],
    constants: [],
  });
  expect(fuseGraph(model)).toBe(model);
});

test('bytes that are no model are an error of the runtime', async () => {
  await expect(openSession('broken.onnx', new Uint8Array([1, 2, 3]))).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
  });
});
