import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { RgbImage } from '../image/rgb-image.js';
import { centernetDecoder } from './centernet-decoder.js';
import { type DetectorManifest, detectorManifest, type OutputOf } from './detector-manifest.js';
import { mask2formerDecoder } from './mask2former-decoder.js';
import { nanodetDecoder } from './nanodet-decoder.js';

/** @param output section `output`; @param more other fields */
function manifestOf<K extends DetectorManifest['output']['kind']>(
  output: OutputOf<K>,
  more: { readonly size: number; readonly classes: readonly string[]; readonly threshold: number },
): DetectorManifest {
  const { size, classes, threshold } = more;
  const input = { name: 'x', layout: 'NHWC', dtype: 'uint8', width: size, height: size };
  const thresholds = { threshold, countingThreshold: 0.9, maxObjects: 16, maxOverlap: 1 };
  const colors = { backend: 'lab', prototypes: [{ name: 'red', rgb: [255, 0, 0] }] };
  const graph = { path: 'model.onnx', sha256: 'a'.repeat(64) };
  const common = { name: 'd', version: '1', kind: 'detector', licence: 'none', source: 'test' };
  return detectorManifest.parse({ ...common, graph, input, output, classes, thresholds, colors });
}

const floats = (shape: readonly number[], values: readonly number[]): ort.Tensor =>
  new ort.Tensor('float32', Float32Array.from(values), shape);
const picture = (width: number, height: number): RgbImage => ({
  width,
  height,
  data: new Uint8Array(width * height * 3),
});

describe('mask2formerDecoder', () => {
  const golden = JSON.parse(
    readFileSync(new URL('../../../../golden/mask2former.json', import.meta.url), 'utf8'),
  ) as Golden;
  const output = {
    kind: 'mask2former',
    classLogits: 'class',
    maskLogits: 'mask',
    candidates: golden.candidates,
  } as const;
  const classes = ['a', 'b', 'c'];
  const decode = (one: Golden['cases'][number], threshold: number) =>
    mask2formerDecoder(manifestOf(output, { size: golden.input[0], classes, threshold }), output).decode(
      {
        class: floats([1, golden.queries, classes.length + 1], one.classLogits),
        mask: floats([1, golden.queries, ...golden.mask], one.maskLogits),
      },
      [picture(one.size[1], one.size[0])],
    )[0] ?? [];

  it.each(golden.cases)('gives the objects of the original on a picture of $size', (one) => {
    const found = decode(one, 0);
    expect(found.map(({ className, box }) => ({ className, box }))).toEqual(
      one.objects.map((object) => ({ className: classes[object.class], box: object.box })),
    );
    found.forEach(({ score }, index) => {
      expect(score).toBeCloseTo(one.objects[index]?.score ?? Number.NaN, 5);
    });
    expect(found[1]?.mask).toMatchObject({ width: one.size[1], height: one.size[0] });
  });

  it.each(golden.cases)('leaves out only what can never count, at $size', (one) => {
    const kept = decode(one, 0.6);
    expect(kept.filter(({ score }) => score > 0.6)).toHaveLength(one.objects.filter(({ score }) => score > 0.6).length);
    expect(kept.length).toBeLessThan(golden.candidates);
  });

  it('keeps what is no number, so that it is reported', () => {
    const [one] = golden.cases;
    if (one === undefined) throw new Error('no case');
    const found = decode({ ...one, classLogits: one.classLogits.map(() => Number.NaN) }, 0.3);
    expect(found[0]?.score).toBeNaN();
  });
});

interface Golden {
  readonly queries: number;
  readonly candidates: number;
  readonly mask: readonly [number, number];
  readonly input: readonly [number, number];
  readonly cases: {
    readonly size: readonly [number, number];
    readonly classLogits: number[];
    readonly maskLogits: number[];
    readonly objects: { readonly class: number; readonly score: number; readonly box: number[] }[];
  }[];
}

describe('centernetDecoder', () => {
  it('scales boxes to each picture and passes over rows without a peak', () => {
    const output = { kind: 'centernet', detections: 'd' } as const;
    const decoder = centernetDecoder(manifestOf(output, { size: 8, classes: ['a', 'b'], threshold: 0.3 }), output);
    const rows = [0, 0, 4, 8, 0.75, 1, 0, 0, 8, 8, 0, 0, 2, 2, 4, 4, 0.5, 0, 0, 0, 8, 8, 0, 0];
    const [first, second] = decoder.decode({ d: floats([2, 2, 6], rows) }, [picture(8, 8), picture(16, 4)]);
    expect(first).toEqual([{ className: 'b', score: 0.75, box: [0, 0, 4, 8], mask: null }]);
    expect(second).toEqual([{ className: 'a', score: 0.5, box: [4, 1, 8, 2], mask: null }]);
  });
});

describe('nanodetDecoder', () => {
  const output: OutputOf<'nanodet'> = {
    kind: 'nanodet',
    levels: [{ stride: 8, scores: 's', distances: 'd' }],
    maxOverlap: 0.6,
  };
  const decoder = nanodetDecoder(manifestOf(output, { size: 16, classes: ['a', 'b'], threshold: 0.3 }), output);
  /** Distribution over 0, 1, 2 strides that has all its weight on one of them. */
  const sure = (bin: number): number[] => [0, 1, 2].map((index) => (index === bin ? 100 : 0));
  /** Two places of one class see the same object; the fourth place sees another one by a mean of distances 0 and 2. */
  const scores = [0.9, 0.1, 0.8, 0.1, 0, 0, 0.2, 0.7];
  const distances = [
    ...[sure(0), sure(0), sure(2), sure(1)].flat(),
    ...[sure(1), sure(0), sure(1), sure(1)].flat(),
    ...Array.from({ length: 12 }, () => 0),
    ...[50, 0, 50, ...sure(1), ...sure(2), ...sure(2)],
  ];

  it('reads distances as means of distributions, clips to the input and suppresses within a class', () => {
    const [found] = decoder.decode({ s: floats([1, 4, 2], scores), d: floats([1, 4, 12], distances) }, [
      picture(32, 16),
    ]);
    expect(found).toHaveLength(2);
    expect(found?.[0]).toMatchObject({ className: 'a', box: [8, 4, 32, 12] });
    expect(found?.[1]).toMatchObject({ className: 'b', box: [8, 4, 32, 16] });
    expect(found?.[0]?.score).toBeCloseTo(0.9, 6);
  });
});

it('the manifest knows the classes of COCO by GenEval names', () => {
  const text = 'kind: centernet\ndetections: d';
  const manifest = manifestOf(parse(text), { size: 8, classes: 'coco-80' as never, threshold: 0.3 });
  expect([manifest.classes.length, manifest.classes[62], manifest.classes[64]]).toEqual([80, 'tv', 'computer mouse']);
});
