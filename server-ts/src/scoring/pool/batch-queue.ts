import type { Score } from '../../core/types.js';
import type { ScorePriority, ScoreRequest } from '../../pipeline/ports.js';

/** A batch of pictures on its way through a pool. */
export interface Batch {
  readonly batchId: bigint;
  readonly items: ScoreRequest[];
  readonly priority: ScorePriority;
  /** 1 for the first try. */
  attempt: number;
  readonly resolve: (scores: Score[]) => void;
}

/** Batches that wait for a process: live ones and shadow ones apart, each in its order. */
export class BatchQueue {
  readonly #waiting: Record<ScorePriority, Batch[]> = { live: [], shadow: [] };

  count(priority: ScorePriority): number {
    return this.#waiting[priority].length;
  }

  take(priority: ScorePriority): Batch | undefined {
    return this.#waiting[priority].shift();
  }

  add(batch: Batch): void {
    this.#waiting[batch.priority].push(batch);
  }

  /** Puts batches that had left back to the front, in their order. */
  giveBack(batches: readonly Batch[]): void {
    for (const batch of batches.toReversed()) this.#waiting[batch.priority].unshift(batch);
  }

  remove(batches: readonly Batch[]): void {
    for (const [priority, waiting] of Object.entries(this.#waiting)) {
      this.#waiting[priority as ScorePriority] = waiting.filter((batch) => !batches.includes(batch));
    }
  }

  /** Empties the queue. @returns what waited, live ones first */
  clear(): Batch[] {
    return [...this.#waiting.live.splice(0), ...this.#waiting.shadow.splice(0)];
  }
}
