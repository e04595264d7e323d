import { describe, expect, it } from 'vitest';
import { sampleSigmas } from './schedule.js';
import { deriveSeed, deriveUniform, promptHash } from './seeds.js';

describe('sampleSigmas', () => {
  it('equals the published diffusers schedule', () => {
    const published = [1, 0.960129, 0.913349, 0.857692, 0.790368, 0.707278, 0.602151, 0.464876, 0.278049, 0.008929, 0];
    sampleSigmas('diffusers', 10, 3).forEach((sigma, step) => {
      expect(sigma).toBeCloseTo(published[step] ?? -1, 5);
    });
    const forty = sampleSigmas('diffusers', 40, 3);
    expect([forty[1], forty[2], forty[38], forty[39], forty[40]].map((sigma) => sigma?.toFixed(6))).toEqual([
      '0.991331',
      '0.982356',
      '0.081046',
      '0.008929',
      '0.000000',
    ]);
  });

  it('shifts a linear schedule once', () => {
    const sigmas = sampleSigmas('linear', 8, 3);
    expect(sigmas).toHaveLength(9);
    expect([sigmas[0], sigmas[7], sigmas[8]]).toEqual([1, expect.closeTo(0.3, 12), 0]);
    expect(sampleSigmas('linear', 1, 3)).toEqual([1, 0]);
  });

  it('refuses impossible schedules', () => {
    expect(() => sampleSigmas('linear', 0, 3)).toThrow('received 0, 3');
    expect(() => sampleSigmas('linear', 4, 0)).toThrow('received 4, 0');
  });
});

describe('seeds', () => {
  it('differ by every part and stay below 2^63', () => {
    const seeds = [
      deriveSeed(0),
      deriveSeed(1),
      deriveSeed(0, 1),
      deriveSeed(0, 'a', 1),
      deriveSeed(0, 'a', 11),
      deriveSeed(0, 'a1', 1),
    ];
    expect(new Set(seeds).size).toBe(seeds.length);
    expect(seeds.every((seed) => seed >= 0n && seed < 1n << 63n)).toBe(true);
    expect(deriveSeed(5n, 2)).toBe(deriveSeed(5, 2n));
  });

  it('refuse parts that could be read in two ways', () => {
    expect(() => deriveSeed(0, 'a/b')).toThrow('without a slash');
    expect(() => deriveSeed(0, -1)).toThrow('whole numbers');
    expect(() => deriveSeed(0, 0.5)).toThrow('whole numbers');
  });

  it('give uniform numbers in [0, 1)', () => {
    const values = Array.from({ length: 400 }, (_, index) => deriveUniform(1, 'u', index));
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(values.reduce((sum, value) => sum + value, 0) / 400).toBeCloseTo(0.5, 1);
  });

  it('hash prompts as UTF-8', () => {
    expect(promptHash('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});
