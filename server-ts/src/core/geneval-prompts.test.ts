import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GENEVAL_OBJECTS } from './geneval-objects.js';
import {
  drawGenevalPrompts,
  evaluationCounts,
  type GenevalPrompt,
  type GenevalTag,
  genevalText,
  splitObjects,
  trainingCounts,
} from './geneval-prompts.js';
import { parsePromptFile } from './prompt-records.js';

const OFFICIAL = new URL('../../../../shared/data/geneval/evaluation_metadata.jsonl', import.meta.url);
const draw = (counts: Partial<Record<GenevalTag, number>>, more: { seed?: number; exclude?: Iterable<string> } = {}) =>
  drawGenevalPrompts({
    seed: more.seed ?? 1,
    counts,
    objects: GENEVAL_OBJECTS,
    exclude: new Set(more.exclude),
  });
const texts = (lines: readonly GenevalPrompt[]): string[] => lines.map(({ prompt }) => prompt);

describe('genevalText', () => {
  it.skipIf(!existsSync(OFFICIAL))('writes the 553 official prompts from their clauses', () => {
    const records = parsePromptFile(
      { name: 'evaluation_metadata.jsonl', format: 'jsonl', text: readFileSync(OFFICIAL, 'utf8') },
      'geneval',
    );
    expect(records).toHaveLength(553);
    for (const { tag, include, prompt } of records) expect(genevalText(tag as GenevalTag, include)).toBe(prompt);
    const classes = new Set(records.flatMap(({ include }) => include.map((clause) => clause.class)));
    expect([...classes].filter((name) => !GENEVAL_OBJECTS.includes(name as never))).toEqual([]);
  });

  it('knows articles, plurals and which object comes first', () => {
    const clause = (name: string, more = {}) => ({ class: name, count: 1, ...more });
    expect(genevalText('colors', [clause('cup', { color: 'orange' })])).toBe('a photo of an orange cup');
    expect(genevalText('counting', [clause('skis', { count: 3 })])).toBe('a photo of three skises');
    const include = [clause('oven'), clause('dog', { position: ['left of', 0] })];
    expect(genevalText('position', include)).toBe('a photo of a dog left of an oven');
  });
});

describe('drawGenevalPrompts', () => {
  it('draws valid lines that the prompt reader takes, the same ones for the same seed', () => {
    const lines = draw(evaluationCounts(100, 80));
    expect(lines).toHaveLength(580);
    expect(new Set(texts(lines)).size).toBe(580);
    const text = lines.map((line) => JSON.stringify(line)).join('\n');
    const records = parsePromptFile({ name: 'x', format: 'jsonl', text }, 'geneval');
    expect(records.filter(({ tag }) => tag === 'single_object')).toHaveLength(80);
    for (const { tag, include, exclude } of records) {
      const [first, second] = include;
      expect(exclude).toEqual(tag === 'counting' ? [{ class: first?.class, count: (first?.count ?? 0) + 1 }] : []);
      expect(first?.class).not.toBe(second?.class);
      if (tag === 'color_attr') expect(first?.color).not.toBe(second?.color);
      expect(include.some((clause) => clause.class === 'person' && clause.color !== undefined)).toBe(false);
    }
    expect(draw(evaluationCounts(100, 80))).toEqual(lines);
    expect(texts(draw(evaluationCounts(100, 80), { seed: 2 }))).not.toEqual(texts(lines));
  });

  it('never draws what is excluded, and repeats only where there is nothing else', () => {
    const test = texts(draw(evaluationCounts(60, 80), { seed: 9 }));
    const train = draw({ counting: 500, colors: 300 }, { exclude: test });
    const counting = texts(train.filter(({ tag }) => tag === 'counting'));
    const colors = texts(train.filter(({ tag }) => tag === 'colors'));
    expect([counting.length, new Set(counting).size]).toEqual([500, 240 - 60]);
    expect([colors.length, new Set(colors).size]).toEqual([300, 300]);
    expect(texts(train).filter((prompt) => test.includes(prompt))).toEqual([]);
  });

  it('takes every prompt of a kind once before it repeats', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.integer({ min: 2, max: 6 }), (seed, size) => {
        const objects = GENEVAL_OBJECTS.slice(1, size + 1);
        const count = size * (size - 1);
        const lines = drawGenevalPrompts({ seed, counts: { two_object: count }, objects, exclude: new Set() });
        expect(new Set(texts(lines)).size).toBe(count);
      }),
    );
  });
});

it('a training set has the shares of Flow-GRPO', () => {
  expect(trainingCounts(17)).toEqual({ position: 7, counting: 5, color_attr: 3, colors: 1, two_object: 1 });
  const sum = Object.values(trainingCounts(50_000)).reduce((all, count) => all + count, 0);
  expect(sum).toBe(50_000);
});

it('the split of the classes is complete and depends on the seed alone', () => {
  const { seen, unseen } = splitObjects(5, 20);
  expect([seen.length, unseen.length]).toEqual([60, 20]);
  expect(new Set([...seen, ...unseen])).toEqual(new Set(GENEVAL_OBJECTS));
  expect(splitObjects(5, 20).unseen).toEqual(unseen);
  expect(splitObjects(6, 20).unseen).not.toEqual(unseen);
});
