import { describe, expect, it } from 'vitest';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import type { StarError } from '../core/errors.js';
import type { Reward } from '../core/types.js';
import type { Clock } from './clock.js';
import { runIteration } from './iteration.js';
import type { IterationRecord } from './ports.js';
import { isReached, quorumFailure, rewardShare } from './quorum.js';

const value: Reward = { kind: 'value', reward: 0, components: {} };
const abstained: Reward = { kind: 'abstained' };
const missing: Reward = { kind: 'missing', failure: { reason: 'SCORER_TIMEOUT', message: 'no answer' } };

describe('quorum', () => {
  it('is the share of rewards among rollouts that did not abstain', () => {
    expect(rewardShare([value, missing, missing, abstained])).toBe(1 / 3);
    expect(isReached([value, missing, abstained, abstained], 0.5)).toBe(true);
    expect(isReached([value, missing, missing], 0.5)).toBe(false);
    expect(isReached([value, missing, missing], 0)).toBe(true);
  });

  it('is never reached without a single reward', () => {
    expect(isReached([missing], 0)).toBe(false);
    expect(isReached([abstained], 0)).toBe(false);
    expect(quorumFailure(3, [abstained], 0)).toMatchObject({
      reason: 'PROMPT_INVALID',
      message:
        'none of the 1 rollouts of iteration 3 got a reward (1 x abstained); no component applies to these prompts',
    });
  });

  it('names counts, the share that is needed and an example', () => {
    expect(quorumFailure(3, [value, missing, missing, abstained], 0.5).message).toBe(
      'only 1 of the 4 rollouts of iteration 3 got a reward (2 x SCORER_TIMEOUT, 1 x abstained), ' +
        'reward.quorum.share asks for 0.5; for example: no answer',
    );
  });
});

/** A clock on which every wait is over at once. */
class HastyClock implements Clock {
  readonly waits: number[] = [];

  nowMs(): number {
    return 0;
  }

  after(delayMs: number, callback: () => void): () => void {
    this.waits.push(delayMs);
    queueMicrotask(callback);
    return () => undefined;
  }
}

interface Outcome {
  record: IterationRecord | null;
  error: StarError | null;
  trainer: ScriptedTrainer;
  clock: HastyClock;
  ends: string[];
}

/** One iteration of 2 groups of 3. */
async function iterate(
  quorum: object,
  scorer: ScriptedScorer,
  more: { trainer?: ScriptedTrainer; advantages?: object } = {},
): Promise<Outcome> {
  const { trainer = new ScriptedTrainer() } = more;
  const recipe = tinyRecipe({
    prompts: { train: 'a', evaluation: 'b', groupsPerIteration: 2, groupSize: 3 },
    reward: { components: [{ name: 'geneval', scorer: 'geneval' }], quorum },
    advantages: more.advantages,
  });
  const clock = new HastyClock();
  const ends: string[] = [];
  const { signal } = new AbortController();
  const model = await trainer.prepare({ runId: 'r1', iteration: 0, policyVersion: 0, signal }, recipe);
  const work = runIteration({
    runId: 'r1',
    recipe,
    iteration: 0,
    prompts: TINY_PROMPTS,
    model,
    forceCheckpoint: () => false,
    rewardVersion: 1,
    onGroupScored: () => undefined,
    history: () => [],
    endRun: (state, error) => ends.push(`${state} ${error.reason}`),
    trainer,
    scorer,
    artifacts: new MemoryArtifacts(),
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock,
    signal,
  });
  const [record, error] = await work.then(
    (done) => [done, null] as const,
    (failure: StarError) => [null, failure] as const,
  );
  return { record, error, trainer, clock, ends };
}

const mostFail = (id: string): boolean => id !== '0-0-0' && id !== '0-1-0';

describe('an iteration below its quorum', () => {
  it('is not trained on, and says why', async () => {
    const { error, trainer, ends } = await iterate({}, new ScriptedScorer({ fails: mostFail }));
    expect(error).toMatchObject({
      reason: 'SCORER_CRASHED',
      message: expect.stringMatching(/^only 2 of the 6 .* 0\.5;/),
    });
    expect(trainer.masks).toEqual([]);
    expect(ends).toEqual([]);
  });

  it('asks for a hold where the recipe wants one', async () => {
    const { error, ends } = await iterate({ action: 'hold' }, new ScriptedScorer({ fails: mostFail }));
    expect(error).toMatchObject({ reason: 'SCORER_CRASHED' });
    expect(ends).toEqual(['STOPPED SCORER_CRASHED']);
  });

  it('is trained on where the recipe asks for less', async () => {
    const { record } = await iterate({ share: 0.3 }, new ScriptedScorer({ fails: mostFail }));
    expect(record?.metrics).toMatchObject({ reward_count: 2, reward_missing_count: 4, group_dropped_count: 2 });
  });

  it('gets its missing scores after a pause; only they are asked for again', async () => {
    let calls = 0;
    // The two groups fail first, and one of them once more.
    const scorer = new ScriptedScorer({ fails: (id) => mostFail(id) && (calls++ < 4 || (calls <= 6 && id < '0-1')) });
    const { record, clock } = await iterate({ retries: 5, pauseMs: 700, share: 1 }, scorer);
    expect(scorer.calls.slice(2)).toEqual([
      ['0-0-1', '0-0-2'],
      ['0-1-1', '0-1-2'],
      ['0-0-1', '0-0-2'],
    ]);
    expect(clock.waits).toEqual([700, 700]);
    expect(record?.metrics).toMatchObject({ reward_count: 6, reward_missing_count: 0 });
    const plain = await iterate({}, new ScriptedScorer());
    expect(record?.rollouts).toEqual(plain.record?.rollouts);
  });

  it('gives up after the retries', async () => {
    const scorer = new ScriptedScorer({ fails: mostFail });
    const { error, clock } = await iterate({ retries: 2 }, scorer);
    expect(error).toMatchObject({ reason: 'SCORER_CRASHED' });
    expect(clock.waits).toHaveLength(2);
    expect(scorer.calls).toHaveLength(6);
  });

  it('does not ask again for what cannot change', async () => {
    const scorer = new ScriptedScorer({ value: () => Number.NaN });
    const { error, clock } = await iterate({ retries: 2 }, scorer);
    expect(error).toMatchObject({ reason: 'SCORE_NOT_FINITE' });
    expect(clock.waits).toEqual([]);
  });

  it.each(['group', 'batch'])('never sends masks that a retry could still change (%s)', async (standardDeviation) => {
    let calls = 0;
    const scorer = new ScriptedScorer({ fails: (id) => id !== '0-1-0' && id < '0-1-9' && calls++ < 5 });
    const { record, trainer } = await iterate({ retries: 1 }, scorer, { advantages: { standardDeviation } });
    const sent = trainer.masks[0]?.map(({ advantage }) => advantage);
    expect(sent).toEqual(record?.rollouts.map(({ advantage }) => advantage));
    expect(sent).not.toContain(null);
  });
});
