import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { heatPicture } from './heat-picture.js';
import { lineChart, niceScale, shortNumber } from './line-chart.js';

describe('niceScale', () => {
  it('covers the values with round ticks', () => {
    expect(niceScale(0.12, 0.87).ticks.map((tick) => Number(tick.toFixed(6)))).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    const constant = niceScale(0, 0);
    expect(constant.low).toBeLessThan(0);
    expect(constant.high).toBeGreaterThan(0);
  });
});

describe('lineChart', () => {
  it('leaves out values that are not finite and is empty without points', () => {
    const points = [
      [0, 1],
      [1, Number.NaN],
      [2, 3],
    ] as const;
    const svg = lineChart([{ name: 'a<b', points }], { title: 't', xLabel: 'x' });
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).not.toContain('NaN');
    expect(svg).toContain('a&lt;b, 2: 3');
    expect(lineChart([{ name: 'a', points: [] }], { title: 't', xLabel: 'x' })).toBe('');
  });

  it('marks changes between two points, and none outside', () => {
    const points = [2, 3, 4].map((x) => [x, x] as const);
    const marks = [2, 4, 5].map((x) => ({ x, text: `from ${x} <on>` }));
    const svg = lineChart([{ name: 'a', points }], { title: 't', xLabel: 'x', marks });
    expect(svg.match(/<line class="mark"/g)).toHaveLength(1);
    // Three quarters of the way from 2 to 4.
    expect(svg).toContain('<line class="mark" x1="393.5" x2="393.5"');
    expect(svg).toContain('<title>from 4 &lt;on&gt;</title>');
  });

  it('writes short numbers', () => {
    expect([0, 0.123456, 1e-7, 123456].map(shortNumber)).toEqual(['0', '0.1235', '1.0e-7', '1.2e+5']);
  });
});

describe('heatPicture', () => {
  it('is a PNG that is clear at 1, amber above and dark below', async () => {
    const png = heatPicture([1, 4, 0, 2.5], 2, 2, 4);
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([2, 2, 4]);
    expect([...data]).toEqual([255, 149, 0, 0, 255, 149, 0, 200, 8, 20, 46, 200, 255, 149, 0, 100]);
  });
});
