import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { lineageOf } from './bundle-lineage.js';
import type { ScorerManifest } from './manifest.js';
import { readDeclaredBundle } from './scorer-bundle.js';

const { manifest, bundleHash } = await readDeclaredBundle(
  fileURLToPath(new URL('../../../../scorers/ppocr-v4', import.meta.url)),
);
const preprocessing = (changes: object): string =>
  lineageOf({ manifest: { ...manifest, ...changes } as ScorerManifest, bundleHash }).preprocessing;

test('names every file that scores depend on, and the thresholds', () => {
  const lineage = lineageOf({ manifest, bundleHash });
  expect(lineage).toMatchObject({ scorer: 'ppocr-v4 1.0.0', bundleHash, thresholds: { pixel: 0.3, line: 0.5 } });
  expect(Object.keys(lineage.graphHashes).map((path) => path.split('/').at(-1))).toEqual([
    'ch_PP-OCRv4_det_infer.onnx',
    'ch_PP-OCRv4_rec_infer.onnx',
    'ppocr_keys_v1.txt',
  ]);
});

test('the preprocessing id depends on settings, not on weights, thresholds or descriptions', () => {
  if (manifest.kind !== 'ocr') throw new Error('expected an OCR bundle');
  const { detector } = manifest;
  const graph = { path: 'other.onnx', sha256: 'a'.repeat(64) };
  const others = { version: '2', licence: 'x', thresholds: {}, valueRange: [0, 1], detector: { ...detector, graph } };
  expect(preprocessing(others)).toBe(preprocessing({}));
  expect(preprocessing({ detector: { ...detector, maxSide: 961 } })).not.toBe(preprocessing({}));
});
