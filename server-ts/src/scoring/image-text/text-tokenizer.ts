import { Tokenizer } from '@huggingface/tokenizers';
import { StarError } from '../../core/errors.js';
import type { TextTower } from './clip-towers.js';

/** Ids of a batch of texts. */
export interface TokenBatch {
  /** [n, length] */
  readonly ids: BigInt64Array;
  readonly length: number;
}

/** Makes texts into what a text tower takes. */
export interface TextTokenizer {
  /**
   * @param length ids per text; null: as many as the longest text has
   * @throws StarError PROMPT_INVALID for a word that the vocabulary has no id for
   */
  encodeBatch(texts: readonly string[], length: number | null): TokenBatch;
}

type TokenizerTower = Pick<TextTower, 'contextLength' | 'endId' | 'padId' | 'tokenizer'>;

/**
 * Reads the tokenizer of a text tower. Texts of more than `contextLength` ids are cut and still end with `endId`.
 *
 * @param json tokenizer.json of Hugging Face's tokenizers
 * @throws StarError SCORER_NOT_LOADABLE when it is not one
 */
export function readTextTokenizer(json: string, tower: TokenizerTower): TextTokenizer {
  const encode = parseTokenizer(json, tower.tokenizer.path);
  const fit = (ids: number[]): number[] =>
    ids.length <= tower.contextLength ? ids : [...ids.slice(0, tower.contextLength - 1), tower.endId];
  return {
    encodeBatch(texts, fixedLength) {
      const rows = texts.map((text) => fit(encode(text)));
      const length = fixedLength ?? Math.max(...rows.map((row) => row.length));
      const ids = new BigInt64Array(rows.length * length).fill(BigInt(tower.padId));
      for (const [index, row] of rows.entries()) ids.set(row.map(BigInt), index * length);
      return { ids, length };
    },
  };
}

/** @returns ids of a text, with those of start and end, not cut */
function parseTokenizer(json: string, path: string): (text: string) => number[] {
  try {
    const file = JSON.parse(json) as { model: { unk_token?: string | null; vocab: Record<string, number> } };
    const tokenizer = new Tokenizer(file, {});
    const unknownId = file.model.vocab[file.model.unk_token ?? ''];
    return (text) => knownIds(tokenizer.encode(text).ids, unknownId, text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StarError('SCORER_NOT_LOADABLE', `${path} is not a tokenizer.json that can be used: ${why}`, {}, error);
  }
}

/** The library leaves holes for words that a word-level vocabulary lacks. */
function knownIds(ids: readonly (number | undefined)[], unknownId: number | undefined, text: string): number[] {
  return ids.map((id) => {
    const known = id ?? unknownId;
    if (known !== undefined) return known;
    throw new StarError(
      'PROMPT_INVALID',
      `the tokenizer has no id for a word of ${JSON.stringify(text)} and no unk_token`,
    );
  });
}
