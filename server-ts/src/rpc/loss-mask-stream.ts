import { StarError } from '../core/errors.js';
import type { LossMask } from '../core/types.js';
import type { LossMask as WireLossMask } from '../gen/star/v1/update.js';
import { toWireLossMask } from './message-mapping.js';
import type { UpdateWork, WorkerTask } from './worker-task.js';

/** A message holds masks up to this size; gRPC counts messages, not bytes, so they must be neither tiny nor huge. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * Loss masks of an update task, coded and packed into chunks of about 1 MiB, as the pipeline yields them. A chunk takes
 * what is there in one turn of the event loop: a mask never waits for one that has no score yet.
 *
 * @throws StarError STATE_CONFLICT when they were read before or the task is no update; what the pipeline throws
 */
export async function* lossMaskChunks(task: WorkerTask): AsyncGenerator<WireLossMask[]> {
  const work = beginReading(task);
  const masks = work.lossMasks[Symbol.asyncIterator]();
  try {
    yield* pack(masks, work);
    work.masks = 'sent';
  } finally {
    await masks.return?.();
  }
}

function beginReading(task: WorkerTask): UpdateWork {
  const { work } = task;
  if (work.kind !== 'update') {
    throw new StarError('STATE_CONFLICT', `task ${task.lease.taskId} is of kind ${work.kind}, expected update`);
  }
  if (work.masks !== 'waiting') {
    throw new StarError('STATE_CONFLICT', `the loss masks of task ${task.lease.taskId} were read before`);
  }
  work.masks = 'streaming';
  return work;
}

async function* pack(masks: AsyncIterator<LossMask>, work: UpdateWork): AsyncGenerator<WireLossMask[]> {
  let chunk: WireLossMask[] = [];
  let byteCount = 0;
  let turn: Promise<null> = nextTurn();
  let next = masks.next();
  for (;;) {
    const result = chunk.length === 0 ? await next : await Promise.race([next, turn]);
    if (chunk.length > 0 && (result === null || result.done === true || byteCount >= CHUNK_BYTES)) {
      yield chunk;
      chunk = [];
      byteCount = 0;
    }
    if (result === null) continue;
    if (result.done === true) return;
    if (chunk.length === 0) turn = nextTurn();
    const mask = toWireLossMask(result.value, work.wire);
    chunk.push(mask);
    byteCount += mask.allocationMaps?.data.byteLength ?? 0;
    next = masks.next();
  }
}

/** Resolves when everything that is ready now has run. */
function nextTurn(): Promise<null> {
  return new Promise((resolve) => {
    setImmediate(() => resolve(null));
  });
}
