import { StarError } from '../core/errors.js';
import type { AttentionMaps } from '../core/types.js';
import type { ImageChunk, RolloutChunk, RolloutResult, RolloutTaskEcho } from '../gen/star/v1/rollout.js';
import type { SubmitRolloutsRequest, SubmitRolloutsResponse } from '../gen/star/v1/worker_service.js';
import { assertEcho, fromRolloutResult } from './message-mapping.js';
import type { RolloutWork, WorkerTask } from './worker-task.js';

const BIGGEST_IMAGE_BYTES = 64 * 1024 * 1024;

/** A rollout whose picture is still coming. */
interface Incoming {
  readonly index: number;
  readonly rolloutId: string;
  readonly attention: AttentionMaps | null;
  readonly image: Uint8Array;
  received: number;
}

/** Reads one SubmitRollouts stream: echo, then result and picture of every rollout, in the order of the plan. */
export class RolloutIntake {
  #task: WorkerTask | null = null;
  #work: RolloutWork | null = null;
  #incoming: Incoming | null = null;
  #acceptedCount = 0;
  #repeatedCount = 0;

  /** @param leasedTask finds a task by its proof; throws StarError LEASE_EXPIRED */
  constructor(private readonly leasedTask: (taskId: string, leaseToken: string) => WorkerTask) {}

  /** The task that the stream belongs to; null before its echo. */
  get task(): WorkerTask | null {
    return this.#task;
  }

  /**
   * Reads the stream to its end. The next message is read when the pipeline has taken the rollout before it.
   *
   * @throws StarError TASK_ECHO_MISMATCH, TENSOR_INVALID, IMAGE_INVALID, LEASE_EXPIRED, ARGUMENT_INVALID, or what the
   * pipeline throws
   */
  async read(messages: AsyncIterable<SubmitRolloutsRequest>): Promise<SubmitRolloutsResponse> {
    for await (const { chunk } of messages) await this.#take(chunk?.part);
    if (this.#incoming !== null) throw imageInvalid(this.#incoming, 'the stream ended inside its picture');
    return { acceptedCount: this.#acceptedCount, repeatedCount: this.#repeatedCount };
  }

  async #take(part: RolloutChunk['part']): Promise<void> {
    switch (part?.$case) {
      case 'echo':
        return this.#begin(part.value);
      case 'result':
        return this.#result(part.value);
      case 'image':
        return this.#image(part.value);
      default:
        throw new StarError('ARGUMENT_INVALID', 'a rollout chunk has no part');
    }
  }

  #begin(echo: RolloutTaskEcho): void {
    const task = this.leasedTask(echo.taskId, echo.leaseToken);
    if (task.work.kind !== 'rollout') {
      throw new StarError('STATE_CONFLICT', `task ${echo.taskId} is of kind ${task.work.kind}, expected rollout`);
    }
    this.#task = task;
    this.#work = task.work;
    assertEcho(echo, task.work.plan, {
      attempt: task.lease.attempt,
      policyVersion: task.context.policyVersion,
    });
  }

  #result(result: RolloutResult): void {
    const work = this.#requireWork();
    if (this.#incoming !== null) throw imageInvalid(this.#incoming, 'another rollout began inside its picture');
    const index = work.expected.findIndex(({ spec }) => spec.rolloutId === result.rolloutId);
    const expected = work.expected[index];
    if (expected === undefined || index > work.acceptedCount) {
      const next = work.expected[work.acceptedCount]?.spec.rolloutId ?? 'none';
      throw new StarError('TASK_ECHO_MISMATCH', `expected rollout ${next} next, received ${result.rolloutId}`);
    }
    if (result.imageByteCount < 1 || result.imageByteCount > BIGGEST_IMAGE_BYTES) {
      const limits = `1 to ${BIGGEST_IMAGE_BYTES} bytes`;
      throw new StarError(
        'IMAGE_INVALID',
        `picture of ${result.rolloutId}: expected ${limits}, received ${result.imageByteCount}`,
      );
    }
    const attention = fromRolloutResult(result, expected);
    const image = new Uint8Array(result.imageByteCount);
    this.#incoming = { index, rolloutId: result.rolloutId, attention, image, received: 0 };
  }

  async #image(chunk: ImageChunk): Promise<void> {
    const work = this.#requireWork();
    const incoming = this.#incoming;
    if (incoming === null || incoming.rolloutId !== chunk.rolloutId) {
      throw new StarError('IMAGE_INVALID', `picture bytes of ${chunk.rolloutId} without its result before them`);
    }
    const end = chunk.offset + chunk.data.byteLength;
    if (chunk.offset !== incoming.received || chunk.data.byteLength === 0 || end > incoming.image.byteLength) {
      throw imageInvalid(incoming, `received bytes ${chunk.offset} to ${end}`);
    }
    incoming.image.set(chunk.data, chunk.offset);
    incoming.received = end;
    if (end === incoming.image.byteLength) await this.#accept(work, incoming);
  }

  async #accept(work: RolloutWork, rollout: Incoming): Promise<void> {
    this.#incoming = null;
    if (rollout.index < work.acceptedCount) {
      this.#repeatedCount += 1;
      return;
    }
    // Counted before the wait, so that a second stream cannot hand the same rollout over again.
    work.acceptedCount += 1;
    await work.onRollout({ rolloutId: rollout.rolloutId, image: rollout.image, attention: rollout.attention });
    this.#acceptedCount += 1;
  }

  #requireWork(): RolloutWork {
    if (this.#work === null) throw new StarError('ARGUMENT_INVALID', 'the first rollout chunk must be the echo');
    return this.#work;
  }
}

function imageInvalid(incoming: Incoming, what: string): StarError {
  const place = `expected byte ${incoming.received} of ${incoming.image.byteLength}`;
  return new StarError('IMAGE_INVALID', `picture of ${incoming.rolloutId}: ${place}, but ${what}`);
}
