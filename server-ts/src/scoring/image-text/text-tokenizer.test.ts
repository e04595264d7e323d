import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readTextTokenizer } from './text-tokenizer.js';

const json = readFileSync(new URL('../../../../models/tiny-world/tokenizer/tokenizer.json', import.meta.url), 'utf8');
const tower = { contextLength: 8, endId: 3, padId: 0, tokenizer: { path: 'tokenizer.json', sha256: '0'.repeat(64) } };
const tokenizer = readTextTokenizer(json, tower);

function rows(texts: readonly string[], fixedLength: number | null): number[][] {
  const { ids, length } = tokenizer.encodeBatch(texts, fixedLength);
  return texts.map((_, index) => [...ids.slice(index * length, (index + 1) * length)].map(Number));
}

// Ids of Hugging Face's tokenizers 0.23 for the same file.
test('gives the ids of the reference, also of words that are not known', () => {
  expect(rows(['a  zork '], null)).toEqual([[2, 4, 1, 3]]);
  expect(rows(['a sign with'], null)).toEqual([[2, 4, 16, 1, 3]]);
});

test('fills to the longest text, or to the length that the graph wants', () => {
  expect(rows(['a red circle', 'a'], null)).toEqual([
    [2, 4, 22, 28, 3],
    [2, 4, 3, 0, 0],
  ]);
  expect(rows(['a'], 8)).toEqual([[2, 4, 3, 0, 0, 0, 0, 0]]);
});

test('a text that is too long is cut and still ends', () => {
  const whole = [2, 4, 22, 28, 12, 7, 4, 26, 29, 3];
  expect(rows(['a red circle left of a blue square'], null)).toEqual([[...whole.slice(0, 7), 3]]);
});

test('refuses what is no tokenizer, and words without an id', () => {
  expect(() => readTextTokenizer('{}', tower)).toThrow(/tokenizer\.json is not a tokenizer/);
  const strict = JSON.parse(json);
  strict.model.unk_token = null;
  const { encodeBatch } = readTextTokenizer(JSON.stringify(strict), tower);
  expect(() => encodeBatch(['a zork'], null)).toThrow(/no id for a word of "a zork"/);
});
