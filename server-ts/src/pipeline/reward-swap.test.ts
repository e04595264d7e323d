import { EventEmitter, once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { type Interrupt, ScriptedScorer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { type Steer, SteeredTrainer } from '../../test/steered-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { MemoryRunStore } from '../storage/memory-run-store.js';
import { RunController } from './run-controller.js';

const recipe = tinyRecipe({ iterations: 6 });

/** The kind of scorer is the name of its bundle. */
const reward = (bundle: string, weight = 1): Recipe['reward'] =>
  tinyRecipe({ reward: { components: [{ name: 'geneval', scorer: 'geneval', bundle, weight }] } }).reward;

class World {
  readonly store: MemoryRunStore;
  readonly trainer: SteeredTrainer;
  readonly controller: RunController;
  readonly scorers: ScriptedScorer[] = [];
  /** Groups in the order in which scorers were asked: bundle and first rollout. */
  readonly asked: string[] = [];
  readonly happened = new EventEmitter();
  /** Scores of the bundle `held` come after this. */
  readonly held = Promise.withResolvers<void>();

  constructor(steer: (world: World) => Steer, options: { interrupt?: Interrupt; before?: World } = {}) {
    this.store = options.before?.store ?? new MemoryRunStore(() => '2026-01-01T00:00:00.000Z');
    this.trainer = new SteeredTrainer(steer(this), options);
    for (const [version, value] of options.before?.trainer.checkpoints ?? [])
      this.trainer.checkpoints.set(version, value);
    this.controller = new RunController({
      store: this.store,
      artifacts: new MemoryArtifacts(),
      trainer: this.trainer,
      createScorer: (made, signal) => this.#createScorer(made, signal),
      loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
      telemetry: { event: (name, fields) => this.happened.emit(name, fields), metrics: () => undefined },
      clock: new FakeClock(),
      onFinished: async () => undefined,
    });
  }

  async #createScorer(made: Recipe, signal: AbortSignal): Promise<ScriptedScorer> {
    const bundle = made.reward.components[0]?.bundle ?? 'shipped';
    if (bundle === 'unreadable') throw new StarError('SCORER_NOT_LOADABLE', 'wrong hash');
    if (bundle === 'never loads') return once(signal, 'abort').then(() => Promise.reject(signal.reason));
    const value = (image: Uint8Array): number => (image[0] ?? 0) / 255;
    const scorer = new ScriptedScorer({
      name: bundle,
      fails: () => bundle === 'silent',
      value: bundle === 'opposite' ? (image) => 10 - value(image) : value,
      gate: ([first]) => {
        this.asked.push(`${bundle} ${first}`);
        return bundle === 'held' ? this.held.promise : Promise.resolve();
      },
    });
    this.scorers.push(scorer);
    return scorer;
  }

  async finish(): Promise<this> {
    if (this.store.listRuns(1).length === 0) {
      this.store.createRun({ runId: 'r1', recipe, recipeText: '' });
      this.controller.submit('r1');
    } else this.controller.start();
    await this.controller.idle();
    return this;
  }

  stage(staged: Recipe['reward']): void {
    this.controller.changeReward('r1', { kind: 'staged', reward: staged, author: 'me' });
  }

  /** Stages and waits until the version is as far as it gets without a boundary. */
  async ready(staged: Recipe['reward']): Promise<void> {
    const checked = once(this.happened, 'reward.checked');
    this.stage(staged);
    await checked;
  }

  rollBack(): void {
    this.controller.changeReward('r1', { kind: 'rolledBack', author: 'me' });
  }

  get versions() {
    return this.store.rewardVersions('r1');
  }

  get states(): string[] {
    return this.versions.map(({ state }) => state);
  }

  /** Version of every iteration; one number per iteration, or a list where groups differ. */
  get versionsByIteration(): number[][] {
    return Array.from({ length: recipe.iterations }, (_, iteration) => [
      ...new Set(this.store.rollouts('r1', iteration).map(({ rewardVersion }) => rewardVersion)),
    ]);
  }
}

/** Stages once before iteration `at` is sampled, and lets its update wait for the shadow. */
const swapAt =
  (at: number, staged: Recipe['reward']) =>
  (world: World): Steer => {
    let shadowed: Promise<unknown> = Promise.resolve();
    let done = false;
    return async (place, iteration) => {
      if (iteration !== at) return;
      if (place === 'rollout' && !done) {
        done = true;
        shadowed = once(world.happened, 'reward.shadowed');
        await world.ready(staged);
      }
      if (place === 'update') await shadowed;
    };
  };

const nothing = () => () => undefined;

describe('a staged reward', () => {
  it('is checked, scores the iteration at hand beside the old one, and takes effect at the next boundary', async () => {
    const world = await new World(swapAt(1, reward('opposite'))).finish();
    expect(world.versionsByIteration).toEqual([[1], [1], [2], [2], [2], [2]]);
    expect(world.states).toEqual(['RETIRED', 'ACTIVE']);
    expect(world.versions[1]).toMatchObject({ effectiveIteration: 2, author: 'me', reward: reward('opposite') });
    expect(world.versions[1]?.shadow).toMatchObject({
      groupCount: 2,
      pictureCount: 4,
      bothCount: 4,
      missingAfter: 0,
      agreement: 0,
      flipped: 1,
      spearman: -1,
      kendall: -1,
    });
    const versions = world.store.metrics('r1').filter(({ name }) => name === 'reward_version');
    expect(versions.map(({ value }) => value)).toEqual([1, 1, 2, 2, 2, 2]);
    expect(world.scorers.every(({ closed }) => closed)).toBe(true);
  });

  it('scores at low priority, when the reward in effect has scored all groups', async () => {
    const world = await new World(swapAt(1, reward('opposite'))).finish();
    const priorities = (name: string) => world.scorers.find((each) => each.name === name)?.priorities;
    expect(priorities('opposite')?.slice(0, 3)).toEqual(['shadow', 'shadow', 'live']);
    expect(priorities('shipped')).not.toContain('shadow');
    expect(world.asked.filter((each) => / 1-/.test(each))).toEqual([
      'shipped 1-0-0',
      'shipped 1-1-0',
      'opposite 1-0-0',
      'opposite 1-1-0',
    ]);
  });

  it('whose weights alone change gives the same order on another scale', async () => {
    const world = await new World(swapAt(1, reward('shipped', 26))).finish();
    const shadow = world.versions[1]?.shadow;
    expect(shadow).toMatchObject({ agreement: 1, flipped: 0, spearman: 1, kendall: 1 });
    expect((shadow?.after?.mean ?? 0) / (shadow?.before?.mean ?? 1)).toBeCloseTo(26, 9);
  });

  it('leaves evaluations to the recipe, so that before and after stay comparable', async () => {
    const swapped = await new World(swapAt(3, reward('opposite'))).finish();
    const judges = swapped.store
      .evaluations('r1')
      .map(({ policyVersion, items }) => [
        policyVersion,
        ...new Set(items.map(({ scores }) => scores.geneval?.kind === 'value' && scores.geneval.lineage.scorer)),
      ]);
    expect(judges).toEqual([
      [0, 'shipped'],
      [6, 'shipped'],
    ]);
    expect(swapped.scorers.map(({ name }) => name)).toEqual(['shipped', 'opposite', 'shipped']);
  });

  it('never makes the run wait: neither for loading nor for the shadow', async () => {
    const loading = await new World((world) => (place, iteration) => {
      if (place === 'rollout' && iteration === 1) world.stage(reward('never loads'));
    }).finish();
    expect([loading.store.getRun('r1').state, loading.states]).toEqual(['SUCCEEDED', ['ACTIVE', 'STAGED']]);

    const shadowing = new World((world) => async (place, iteration) => {
      if (place === 'rollout' && iteration === 1) await world.ready(reward('held'));
      if (place === 'rollout' && iteration === 3) {
        const shadowed = once(world.happened, 'reward.shadowed');
        world.held.resolve();
        await shadowed;
      }
    });
    await shadowing.finish();
    expect(shadowing.versionsByIteration.map(([version]) => version)).toEqual([1, 1, 1, 1, 2, 2]);
    expect(shadowing.versions[1]?.shadow?.groupCount).toBe(2);
  });

  it.each([
    ['unreadable', 'SCORER_NOT_LOADABLE: wrong hash'],
    ['silent', expect.stringMatching(/^SCORER_CRASHED: none of the 4 rollouts of iteration 1/)],
  ])('that is %s is refused, and the run is as if nothing had happened', async (bundle, failure) => {
    const plain = await new World(nothing).finish();
    const world = await new World((at) => {
      let refused: Promise<unknown> = Promise.resolve();
      return async (place, iteration) => {
        if (iteration !== 1) return;
        if (place === 'rollout') {
          refused = once(at.happened, 'reward.refused');
          at.stage(reward(bundle));
        } else await refused;
      };
    }).finish();
    expect(world.states).toEqual(['ACTIVE', 'REFUSED']);
    expect(world.versions[1]?.failure).toEqual(failure);
    expect(world.store.metrics('r1')).toEqual(plain.store.metrics('r1'));
  });

  it('is replaced by a newer one, and withdrawn by a rollback', async () => {
    const world = await new World((at) => async (place, iteration) => {
      if (place !== 'rollout' || iteration !== 1) return;
      await at.ready(reward('opposite'));
      await at.ready(reward('held'));
      at.rollBack();
    }).finish();
    expect(world.states).toEqual(['ACTIVE', 'WITHDRAWN', 'WITHDRAWN']);
    expect(world.versionsByIteration.flat()).toEqual([1, 1, 1, 1, 1, 1]);
    expect(world.scorers.every(({ closed }) => closed)).toBe(true);
  });

  it('that the store refuses to write about does not end the run', async () => {
    const world = await new World((at) => async (place, iteration) => {
      if (place !== 'rollout' || iteration !== 1) return;
      const failed = once(at.happened, 'reward.bookkeeping_failed');
      at.stage(reward('opposite'));
      at.store.advanceReward = () => {
        throw new StarError('STORAGE_FAILED', 'no space left');
      };
      await failed;
    }).finish();
    expect([world.store.getRun('r1').state, world.states]).toEqual(['SUCCEEDED', ['ACTIVE', 'STAGED']]);
  });

  it('is refused for a run that has ended', async () => {
    const world = await new World(nothing).finish();
    expect(() => world.stage(reward('opposite'))).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
  });
});

describe('a rollback', () => {
  it('goes back at the next boundary, without a shadow', async () => {
    const world = await new World((at) => {
      const swap = swapAt(1, reward('opposite'))(at);
      return async (place, iteration) => {
        await swap(place, iteration);
        if (place !== 'rollout' || iteration !== 3) return;
        const checked = once(at.happened, 'reward.checked');
        at.rollBack();
        await checked;
      };
    }).finish();
    expect(world.versionsByIteration).toEqual([[1], [1], [2], [2], [3], [3]]);
    expect(world.states).toEqual(['RETIRED', 'ROLLED_BACK', 'ACTIVE']);
    expect(world.versions[2]).toMatchObject({ rollbackOf: 2, reward: recipe.reward });
  });
});

describe('a run that is computed again', () => {
  it('after a lost worker has the versions that it had, bit for bit', async () => {
    const expected = await new World(swapAt(2, reward('opposite'))).finish();
    let lost = false;
    const interrupt: Interrupt = (place, { iteration }) => {
      if (lost || place !== 'masks' || iteration !== 3) return;
      lost = true;
      throw new StarError('WORKER_LOST', 'the connection broke');
    };
    // The last checkpoint is that of iteration 2: it is computed again, under the recipe's reward.
    const world = await new World(swapAt(2, reward('opposite')), { interrupt }).finish();
    expect(world.trainer.calls.filter((call) => call === 'update 2')).toHaveLength(2);
    expect(world.versionsByIteration).toEqual([[1], [1], [1], [2], [2], [2]]);
    expect(world.store.metrics('r1')).toEqual(expected.store.metrics('r1'));
    expect(world.versions).toEqual(expected.versions);
  });

  it('after a lost worker does not get a version that was staged later', async () => {
    let lost = false;
    const interrupt: Interrupt = (place, { iteration }) => {
      if (lost || place !== 'masks' || iteration !== 3) return;
      lost = true;
      throw new StarError('WORKER_LOST', 'the connection broke');
    };
    // Ready when the worker is lost, and the run goes back to iteration 2, which had version 1.
    const world = await new World(swapAt(3, reward('opposite')), { interrupt }).finish();
    expect(world.trainer.calls.filter((call) => call === 'update 2')).toHaveLength(2);
    expect(world.versionsByIteration).toEqual([[1], [1], [1], [1], [2], [2]]);
  });

  it('after the end of the control plane between stage and boundary takes up what was staged', async () => {
    let closing: Promise<void> = Promise.resolve();
    const first = new World((world) => async (place, iteration) => {
      if (iteration !== 2) return;
      if (place === 'rollout') await world.ready(reward('opposite'));
      if (place === 'update') closing = world.controller.close();
    });
    await first.finish();
    await closing;
    expect(first.store.getRun('r1').state).toBe('QUEUED');
    expect(first.states).toEqual(['ACTIVE', expect.stringMatching(/CHECKED|SHADOWED/)]);

    const second = new World(
      (world) => {
        const shadowed = once(world.happened, 'reward.shadowed');
        return async (place, iteration) => {
          if (place === 'update' && iteration === 2) await shadowed;
        };
      },
      { before: first },
    );
    await second.finish();
    // Iteration 2 had begun when it was staged: it keeps version 1, whoever computes it.
    expect(second.versionsByIteration).toEqual([[1], [1], [1], [2], [2], [2]]);
    expect(second.states).toEqual(['RETIRED', 'ACTIVE']);
    const undisturbed = await new World(swapAt(2, reward('opposite'))).finish();
    expect(second.store.metrics('r1')).toEqual(undisturbed.store.metrics('r1'));
  });

  it('a shadow that broke off with its iteration begins anew', async () => {
    let pictures = 0;
    const interrupt: Interrupt = (place, { iteration }) => {
      if (place !== 'rollout' || iteration !== 2 || ++pictures !== 4) return;
      throw new StarError('WORKER_LOST', 'the connection broke');
    };
    const world = await new World(
      (at) => {
        let shadowed: Promise<unknown> = Promise.resolve();
        return async (place, iteration) => {
          if (place === 'rollout' && iteration === 2 && at.states.length === 1) {
            shadowed = once(at.happened, 'reward.shadowed');
            await at.ready(reward('opposite'));
          }
          if (place === 'update' && iteration === 2) await shadowed;
        };
      },
      { interrupt },
    ).finish();
    expect(world.versions[1]).toMatchObject({ effectiveIteration: 3, shadow: { groupCount: 2, pictureCount: 4 } });
  });
});
