import type { LossMask, Rollout, RolloutPlan, UpdateOutcome } from '../src/core/types.js';
import type { TaskContext } from '../src/pipeline/ports.js';
import { type Interrupt, ScriptedTrainer } from './scripted-trainer.js';

/** Decides when a worker goes on: awaited before it samples an iteration, and before it updates. */
export type Steer = (place: 'rollout' | 'update', iteration: number) => Promise<void> | void;

/** A scripted worker that waits where a test wants something to happen at that time. */
export class SteeredTrainer extends ScriptedTrainer {
  constructor(
    private readonly steer: Steer,
    private readonly options: {
      readonly interrupt?: Interrupt;
      /** Picture of a rollout, from its scripted two bytes. */
      readonly draw?: (bytes: Uint8Array) => Uint8Array;
    } = {},
  ) {
    super(options.interrupt);
  }

  override async rollout(
    context: TaskContext,
    plan: RolloutPlan,
    onRollout: (rollout: Rollout) => Promise<void>,
  ): Promise<void> {
    const { draw } = this.options;
    if (plan.keepTrajectory) await this.steer('rollout', context.iteration);
    await super.rollout(context, plan, (made) =>
      onRollout(draw === undefined ? made : { ...made, image: draw(made.image) }),
    );
  }

  override async update(
    context: TaskContext,
    work: { seed: bigint; forceCheckpoint: boolean },
    lossMasks: AsyncIterable<LossMask>,
  ): Promise<UpdateOutcome> {
    await this.steer('update', context.iteration);
    return super.update(context, work, lossMasks);
  }
}
