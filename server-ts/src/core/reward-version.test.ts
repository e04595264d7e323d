import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareRewards } from './reward-comparison.js';
import {
  advanceLineage,
  firstLineage,
  latestVersion,
  mayTakeEffect,
  pendingVersion,
  type RewardEvent,
  type RewardLineage,
  versionAt,
} from './reward-version.js';

const AT = '2026-01-01T00:00:00.000Z';
const shadow = compareRewards([]);
type Event = RewardEvent<string>;
const staged = (reward: string, earliestIteration = 0): Event => ({
  kind: 'staged',
  reward,
  earliestIteration,
  author: 'me',
});
const rolledBack = (earliestIteration = 0): Event => ({ kind: 'rolledBack', earliestIteration, author: 'me' });
const checked = (version: number): Event => ({ kind: 'checked', version });
const shadowed = (version: number): Event => ({ kind: 'shadowed', version, shadow });
const activated = (version: number, iteration: number): Event => ({ kind: 'activated', version, iteration });

const after = (...events: Event[]) =>
  events.reduce((lineage, event) => advanceLineage(lineage, event, AT), firstLineage('recipe', AT));
const states = (lineage: RewardLineage<string>) => lineage.map(({ state }) => state);
const swap = (reward: string, version: number, iteration: number): Event[] => [
  staged(reward),
  checked(version),
  shadowed(version),
  activated(version, iteration),
];

describe('versions of a reward', () => {
  it('start with the recipe, and the next one takes effect after check and shadow', () => {
    const lineage = after(...swap('b', 2, 4));
    expect(states(lineage)).toEqual(['RETIRED', 'ACTIVE']);
    expect([0, 3, 4, 9].map((iteration) => versionAt(lineage, iteration).reward)).toEqual([
      'recipe',
      'recipe',
      'b',
      'b',
    ]);
    expect(lineage[1]).toMatchObject({ author: 'me', stagedAt: AT, effectiveIteration: 4, shadow });
  });

  it('do not take effect unchecked, without shadow, too early, or where an iteration had another version', () => {
    expect(mayTakeEffect(after(staged('b')), 1)).toBe(false);
    expect(mayTakeEffect(after(staged('b'), checked(2)), 1)).toBe(false);
    const late = after(staged('b', 5), checked(2), shadowed(2));
    expect([mayTakeEffect(late, 4), mayTakeEffect(late, 5)]).toEqual([false, true]);
    const again = after(...swap('b', 2, 7), staged('c'), checked(3), shadowed(3));
    expect([6, 7, 8].map((iteration) => mayTakeEffect(again, iteration))).toEqual([false, false, true]);
    expect(() => advanceLineage(again, activated(3, 7), AT)).toThrow(
      expect.objectContaining({ reason: 'STATE_CONFLICT' }),
    );
  });

  it('a new stage withdraws the one that waits; a refused one leaves the reward as it is', () => {
    expect(states(after(staged('b'), checked(2), staged('c')))).toEqual(['ACTIVE', 'WITHDRAWN', 'STAGED']);
    const refused = after(staged('b'), { kind: 'refused', version: 2, failure: 'no such bundle' });
    expect(states(refused)).toEqual(['ACTIVE', 'REFUSED']);
    expect([pendingVersion(refused), latestVersion(refused).version]).toEqual([null, 1]);
  });

  it('a rollback withdraws what waits, else goes back to the reward before, without a shadow', () => {
    expect(states(after(staged('b'), rolledBack()))).toEqual(['ACTIVE', 'WITHDRAWN']);
    const lineage = after(...swap('b', 2, 1), rolledBack(2), checked(3), activated(3, 2));
    expect(states(lineage)).toEqual(['RETIRED', 'ROLLED_BACK', 'ACTIVE']);
    expect(lineage[2]).toMatchObject({ reward: 'recipe', rollbackOf: 2, shadow: null });
    expect(() => after(rolledBack())).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
  });

  it('what waited is staged again by a new process', () => {
    expect(states(after(staged('b'), checked(2), shadowed(2), { kind: 'restarted' }))).toEqual(['ACTIVE', 'STAGED']);
  });

  it('refuse moves that are not allowed and unknown versions', () => {
    for (const events of [[shadowed(2)], [checked(1)], [staged('b'), checked(2), checked(2)], [activated(1, 1)]]) {
      expect(() => after(...events)).toThrow(
        expect.objectContaining({ reason: expect.stringMatching(/^(STATE|NOT)/) }),
      );
    }
  });

  it('whatever happens: one is active, at most one waits, and no iteration ever changes its version', () => {
    const step = fc.record({ kind: fc.integer({ min: 0, max: 8 }), iteration: fc.integer({ min: 0, max: 12 }) });
    const eventsOf = (lineage: RewardLineage<string>, kind: number, at: number): Event[] => {
      const version = lineage.length;
      if (kind < 2) return [staged('x', at), checked(version + 1), shadowed(version + 1)];
      if (kind < 5) return [activated(version, at)];
      return [
        [rolledBack(at), checked(version + 1)],
        [staged('y', at)],
        [{ kind: 'refused', version, failure: 'no' } as const],
        [{ kind: 'restarted' } as const],
      ][kind - 5] as Event[];
    };
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
        let lineage: RewardLineage<string> = firstLineage('recipe', AT);
        for (const { kind, iteration } of steps) {
          const before = lineage;
          try {
            for (const event of eventsOf(lineage, kind, iteration)) lineage = advanceLineage(lineage, event, AT);
          } catch {
            // Not allowed: what came before it counts.
          }
          expect(lineage.filter(({ state }) => state === 'ACTIVE')).toEqual([latestVersion(lineage)]);
          expect(lineage.filter(({ state }) => /^(STAGED|CHECKED|SHADOWED)$/.test(state)).length).toBeLessThan(2);
          const last = latestVersion(before).effectiveIteration ?? 0;
          for (let at = 0; at <= last; at++) expect(versionAt(lineage, at).version).toBe(versionAt(before, at).version);
        }
      }),
      { numRuns: 300 },
    );
  });
});
