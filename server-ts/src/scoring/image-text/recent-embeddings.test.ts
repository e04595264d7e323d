import { expect, test } from 'vitest';
import { RecentEmbeddings } from './recent-embeddings.js';

test('embeds every text once and forgets the one not used for longest', async () => {
  const recent = new RecentEmbeddings(2);
  const asked: string[][] = [];
  const take = async (...texts: string[]): Promise<string> => {
    const rows = await recent.take(texts, async (fresh) => {
      asked.push([...fresh]);
      return fresh.map((text) => Float32Array.of(text.charCodeAt(0)));
    });
    return String.fromCharCode(...rows.map(([code]) => code ?? 0));
  };
  expect(await take('a', 'b', 'a')).toBe('aba');
  expect(await take('a')).toBe('a');
  expect(await take('c')).toBe('c');
  expect(await take('a')).toBe('a');
  expect(await take('b')).toBe('b');
  expect(await take('x', 'y', 'z', 'x')).toBe('xyzx');
  expect(asked).toEqual([['a', 'b'], ['c'], ['b'], ['x', 'y', 'z']]);
});
