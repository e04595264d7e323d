import { createHash } from 'node:crypto';
import { StarError } from './errors.js';

/** One element of the path that a seed is derived from. */
export type SeedPart = string | number | bigint;

const MASK = (1n << 63n) - 1n;

/**
 * Seed of one random draw: the first 8 bytes, big-endian, of SHA-256 over `star/1/<root>/<part>/...`, without the sign bit.
 * The worker derives seeds by the same rule (`golden/seeds.json`), so results do not depend on how work is split.
 *
 * @param root whole number >= 0
 * @param path whole numbers >= 0 or non-empty words without a slash
 * @returns 0 <= seed < 2^63
 * @throws StarError ARGUMENT_INVALID when a part could be written in two ways
 */
export function deriveSeed(root: bigint | number, ...path: readonly SeedPart[]): bigint {
  const text = ['star', '1', root, ...path].map(seedPart).join('/');
  return createHash('sha256').update(text, 'utf8').digest().readBigUInt64BE(0) & MASK;
}

/** Uniform number in [0, 1) with 53 random bits, derived like a seed. */
export function deriveUniform(root: bigint | number, ...path: readonly SeedPart[]): number {
  return Number(deriveSeed(root, ...path) >> 10n) / 2 ** 53;
}

/** SHA-256 of a prompt in UTF-8, hexadecimal. */
export function promptHash(prompt: string): string {
  return createHash('sha256').update(prompt, 'utf8').digest('hex');
}

function seedPart(part: SeedPart): string {
  const text = String(part);
  const valid = typeof part === 'string' ? /^[^/]+$/.test(part) : /^\d+$/.test(text);
  if (!valid || (typeof part === 'number' && !Number.isSafeInteger(part))) {
    throw new StarError(
      'ARGUMENT_INVALID',
      `seed parts are whole numbers >= 0 or words without a slash, received ${JSON.stringify(text)}`,
    );
  }
  return text;
}
