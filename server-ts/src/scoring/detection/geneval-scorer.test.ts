import { expect, test } from 'vitest';
import type { GenevalThresholds } from '../../core/geneval-rules.js';
import type { PromptRecord } from '../../core/types.js';
import type { ColorClassifier } from './color-classifier.js';
import { createGenevalScorer } from './geneval-scorer.js';
import type { ObjectDetector, RawDetection } from './object-detector.js';

const THRESHOLDS: GenevalThresholds = { threshold: 0.3, countingThreshold: 0.3, maxObjects: 16, maxOverlap: 1 };
const image = { width: 2, height: 2, data: new Uint8Array(12) };

const seen = (className: string): RawDetection => ({ className, score: 0.9, box: [0, 0, 2, 2], mask: null });
const detector: ObjectDetector = { detect: async () => [[seen('circle'), seen('star')]], close: async () => undefined };
const prompt = (color?: string): PromptRecord => ({
  prompt: 'a circle and a star',
  tag: 'two_object',
  include: [
    { class: 'circle', count: 1, color },
    { class: 'star', count: 1 },
  ],
  exclude: [],
  targetText: null,
});

test('names the colours of the classes whose colour is asked for, and of no others', async () => {
  let asked = 0;
  const red: ColorClassifier = {
    backend: 'always red',
    classify: async (objects) => {
      asked += objects.length;
      return objects.map(() => 'red');
    },
    close: async () => undefined,
  };
  const scorer = createGenevalScorer(detector, red, THRESHOLDS);
  const png = new Uint8Array();
  const [colored, plain] = await Promise.all([
    scorer.score([{ prompt: prompt('red'), image, png }]),
    scorer.score([{ prompt: prompt(), image, png }]),
  ]);
  expect(asked).toBe(1);
  expect(colored[0]).toMatchObject({
    values: { strict: 1 },
    evidence: {
      detections: [
        { className: 'circle', color: 'red' },
        { className: 'star', color: null },
      ],
    },
  });
  expect(plain[0]).toMatchObject({ values: { strict: 1 } });
});
