import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { coreContentOf } from './core-content.js';
import { parsePromptFile } from './prompt-records.js';
import type { PromptRecord, Task } from './types.js';

const record = (prompt: string, include: PromptRecord['include'] = [], tag = 'x'): PromptRecord => ({
  prompt,
  tag,
  include,
  exclude: [],
  targetText: null,
});

/** Text and weight of every span. */
function spansOf(task: Task, prompt: PromptRecord): [string, number][] {
  const { concepts, spans } = coreContentOf(task, prompt);
  const symbols = Array.from(prompt.prompt);
  return spans.map(({ start, end, conceptIndex }) => [
    symbols.slice(start, end).join(''),
    concepts[conceptIndex]?.weight ?? Number.NaN,
  ]);
}

const texts = (task: Task, prompt: PromptRecord): string[] => spansOf(task, prompt).map(([text]) => text);
const one = (name: string, color?: string) => ({ class: name, count: 1, color });

describe('GenEval core content', () => {
  it.each([
    ['a photo of an orange orange', [one('orange', 'orange')], ['orange orange']],
    [
      'a photo of an orange orange and a red orange',
      [one('orange', 'orange'), one('orange', 'red')],
      ['orange orange', 'red orange'],
    ],
    [
      'a photo of an orange cow and a purple orange',
      [one('cow', 'orange'), one('orange', 'purple')],
      ['orange cow', 'purple orange'],
    ],
    ['a photo of an orange and a carrot', [one('orange'), one('carrot')], ['orange', 'carrot']],
    ['a photo of a car and a carrot', [one('car'), one('carrot')], ['car', 'carrot']],
    ['a photo of a fork and a baseball bat', [one('fork'), one('baseball bat')], ['fork', 'baseball bat']],
    ['a photo of three scissorses', [{ class: 'scissors', count: 3 }], ['scissorses']],
    ['a photo of two red circles', [{ class: 'circle', count: 2, color: 'red' }], ['red circles']],
  ])('%s', (prompt, include, expected) => {
    expect(texts('geneval', record(prompt, include))).toEqual(expected);
    expect(spansOf('geneval', record(prompt, include)).every(([, weight]) => weight === 1)).toBe(true);
  });

  it('binds the subject of a position prompt to the first noun', () => {
    const include = [one('sink'), { ...one('tie'), position: ['above', 0] as const }];
    const content = coreContentOf('geneval', record('a photo of a tie above a sink', include));
    expect(content.concepts.map(({ name }) => name)).toEqual(['tie', 'sink']);
    expect(content.spans).toEqual([
      { start: 13, end: 16, conceptIndex: 0 },
      { start: 25, end: 29, conceptIndex: 1 },
    ]);
  });

  it('binds by place, so a class that is named like a word of the template is not mistaken for it', () => {
    const { spans } = coreContentOf('geneval', record('a photo of a photo', [one('photo')]));
    expect(spans).toEqual([{ start: 13, end: 18, conceptIndex: 0 }]);
  });

  it('finds objects in other wording, in order and without overlap', () => {
    const prompt = record('Two dogs near a bench, one dog asleep', [
      { class: 'dog', count: 2 },
      one('bench'),
      one('dog'),
    ]);
    expect(texts('geneval', prompt)).toEqual(['dogs', 'bench', 'dog']);
    expect(texts('geneval', record('a still life', [one('dog')]))).toEqual([]);
  });

  const official = new URL('../../../../shared/data/geneval/evaluation_metadata.jsonl', import.meta.url);
  it.skipIf(!existsSync(official))('binds every clause of the 553 official prompts to its colour and noun', () => {
    const prompts = parsePromptFile(
      { name: 'official', format: 'jsonl', text: readFileSync(official, 'utf8') },
      'geneval',
    );
    expect(prompts).toHaveLength(553);
    for (const prompt of prompts) {
      const include = prompt.tag === 'position' ? [...prompt.include].reverse() : prompt.include;
      const expected = include.map(({ class: name, color, count }) => {
        const noun = count === 1 ? name : `${name}${name.endsWith('s') ? 'es' : 's'}`;
        return color === undefined ? noun : `${color} ${noun}`;
      });
      expect(texts('geneval', prompt)).toEqual(expected);
    }
  });
});

describe('OCR core content', () => {
  it.each([
    ['a sign that says "STAR"', ['STAR', 'sign that says']],
    ['A dark alley with a neon sign reading "Open Late" above a door', ['Open Late', 'neon sign reading']],
    ['"HELLO" on a wall', ['HELLO']],
    ['A \u{1F600} card that reads "caf\u00e9 \u{1F600}", warm', ['caf\u00e9 \u{1F600}', 'card that reads']],
    ['A cup. "One" and "Two"', ['One']],
    ['nothing quoted', []],
  ])('%s', (prompt, expected) => {
    expect(texts('ocr', record(prompt))).toEqual(expected);
  });

  it('weighs the carrier half', () => {
    expect(spansOf('ocr', record('a label that says "ABC"')).map(([, weight]) => weight)).toEqual([1, 0.5]);
  });
});

describe('PickScore core content', () => {
  it.each([
    [
      'a fluffy white cat sitting on a wooden chair, highly detailed, 8k, artstation',
      ['fluffy white cat', 'wooden chair'],
    ],
    ['portrait of an old wizard by Greg Rutkowski', ['old wizard']],
    ['8k, masterpiece, best quality', []],
  ])('%s', (prompt, expected) => {
    expect(texts('pickscore', record(prompt))).toEqual(expected);
  });

  it('caps at four phrases and stresses the first', () => {
    const content = spansOf('pickscore', record('a cat, a dog, a cow, a hen, a pig'));
    expect(content).toEqual([
      ['cat', 1.5],
      ['dog', 1],
      ['cow', 1],
      ['hen', 1],
    ]);
  });
});
