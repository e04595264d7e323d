import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { recipeConflicts } from './recipe-conflicts.js';

const geneval = { name: 'geneval', scorer: 'geneval' };
const judge = { name: 'judge', scorer: 'geneval', weight: 0 };
const heldOut = { ...judge, heldOut: true };

function problems(components: object[], monitors: object[] = []): string[] {
  const recipe = tinyRecipe({ iterations: 20, reward: { components, monitors } });
  return recipeConflicts(recipe).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('reward conflicts', () => {
  it('accepts the example of docs/rewards.md', () => {
    const page = readFileSync(new URL('../../../docs/rewards.md', import.meta.url), 'utf8');
    const [, example = ''] = /```yaml\n(reward:\n {2}components:[^`]*?combination:[^`]*)```/.exec(page) ?? [];
    const { reward } = parse(example) as { reward: object };
    expect(recipeConflicts(tinyRecipe({ iterations: 20, reward }))).toEqual([]);
  });

  it('accepts gates, transforms, held-out components and monitors that fit together', () => {
    const gated = { ...geneval, gate: { component: 'judge', value: 'strict', atLeast: 1 } };
    const transformed = { ...gated, transform: { scale: 2, clip: [0, 1] } };
    const monitors = [
      { kind: 'drift', component: 'geneval', threshold: 2 },
      { kind: 'disagreement', component: 'geneval', against: 'judge', threshold: 0.2, action: 'hold' },
    ];
    expect(problems([transformed, judge], monitors)).toEqual([]);
    expect(problems([geneval, heldOut], [{ kind: 'missing', component: 'judge', threshold: 0.1 }])).toEqual([]);
  });

  it('a held-out component can be neither weighted nor the gate of a weighted one', () => {
    expect(problems([geneval, { ...heldOut, weight: 0.5 }])).toEqual([
      expect.stringMatching(/components\.1\.heldOut: .*judge: is held out and has weight 0.5; .* set weight: 0/),
    ]);
    const gate = { component: 'judge', atLeast: 1 };
    expect(problems([{ ...geneval, gate }, heldOut])).toEqual([
      expect.stringMatching(/components\.0\.gate: .*geneval: the gate reads judge, which is held out/),
    ]);
    expect(problems([geneval, heldOut, { ...judge, name: 'other', gate }])).toEqual([]);
  });

  it.each(['hold', 'stop'])('a monitor of a held-out component may not %s', (action) => {
    const monitor = { kind: 'disagreement', component: 'geneval', against: 'judge', threshold: 0.2, action };
    expect(problems([geneval, heldOut], [monitor])).toEqual([expect.stringContaining('judge is held out')]);
    expect(problems([geneval, judge], [monitor])).toEqual([]);
  });

  it.each([
    ['a gate without its component', [{ ...geneval, gate: { component: 'judg', atLeast: 1 } }], [], '"judg"'],
    ['an empty clip range', [{ ...geneval, transform: { clip: [1, 1] } }], [], 'clip is [1, 1]'],
    ['a factor of 0', [{ ...geneval, transform: { scale: 0 } }], [], 'scale is 0'],
    ['a monitor of nothing', [geneval], [{ kind: 'missing', component: 'x', threshold: 0.1 }], 'component "x"'],
    [
      'a component compared with itself',
      [geneval],
      [{ kind: 'disagreement', component: 'geneval', against: 'geneval', threshold: 0 }],
      'compares geneval with itself',
    ],
    [
      'a monitor twice',
      [geneval],
      [0.1, 0.2].map((threshold) => ({ kind: 'missing', component: 'geneval', threshold })),
      'two monitors',
    ],
    [
      'windows longer than the run',
      [geneval],
      [{ kind: 'drift', component: 'geneval', threshold: 1, window: 11 }],
      'window 11 needs 22 iterations',
    ],
  ])('refuses %s', (_, components, monitors, text) => {
    expect(problems(components, monitors)).toEqual([expect.stringContaining(text)]);
  });
});
