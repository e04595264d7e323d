import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { echo, rolloutParts, ScriptedWorker } from '../../test/scripted-worker.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { promptHash } from '../core/seeds.js';
import type { LossMask, Rollout, RolloutPlan } from '../core/types.js';
import { ErrorReason } from '../gen/star/v1/error_reason.js';
import type { RolloutChunk, RolloutGroup, RolloutTaskHeader } from '../gen/star/v1/rollout.js';
import type { TaskOffer } from '../gen/star/v1/worker_service.js';
import type { TaskContext } from '../pipeline/ports.js';
import { REASON_KEY } from './error-mapping.js';
import { type RpcServer, startRpcServer } from './server.js';
import { WorkerTrainer } from './trainer.js';
import { createWorkerService } from './worker-service.js';

const LEASE_MS = 1000;
const prompt = { prompt: 'a red circle', tag: 'single', include: [], exclude: [], targetText: null };
const plan: RolloutPlan = {
  iteration: 0,
  sigmas: [1, 0.6, 0.3, 0],
  windowStart: 0,
  windowSize: 2,
  keepTrajectory: true,
  groups: [0, 1].map((promptIndex) => ({
    promptIndex,
    prompt,
    promptHash: promptHash(prompt.prompt),
    rollouts: [0, 1].map((rolloutIndex) => ({
      rolloutId: `0-${promptIndex}-${rolloutIndex}`,
      rolloutIndex,
      seed: 2n ** 62n + BigInt(rolloutIndex),
    })),
    coreContent: {
      concepts: [{ name: 'red circle', weight: 1 }],
      spans: [{ start: 2, end: 12, conceptIndex: 0 }],
    },
    captureSteps: [0, 1],
  })),
};

let clock: FakeClock;
let trainer: WorkerTrainer;
let server: RpcServer;
let logged: string[];
let workers: ScriptedWorker[];
let ids: number;

beforeEach(async () => {
  clock = new FakeClock();
  logged = [];
  workers = [];
  ids = 0;
  const newId = (): string => `id-${++ids}`;
  trainer = new WorkerTrainer({
    clock,
    newId,
    heartbeatIntervalMs: 100,
    leaseDurationMs: LEASE_MS,
    telemetry: { event: () => undefined, metrics: () => undefined },
  });
  const log = (id: string): void => {
    logged.push(id);
  };
  server = await startRpcServer({ port: 0, service: createWorkerService({ trainer, newId, log }) });
});

afterEach(() => {
  for (const worker of workers) worker.kill();
  server.close();
});

function context(changes: Partial<TaskContext> = {}): TaskContext {
  return { runId: 'r1', iteration: 0, policyVersion: 0, signal: new AbortController().signal, ...changes };
}

async function connected(hello = {}): Promise<ScriptedWorker> {
  const worker = new ScriptedWorker(server.port, hello);
  workers.push(worker);
  await worker.next('welcome');
  return worker;
}

async function prepared(recipe = tinyRecipe()): Promise<ScriptedWorker> {
  const worker = await connected();
  const model = trainer.prepare(context(), recipe);
  await worker.prepare();
  await model;
  return worker;
}

/** Starts a rollout task and gives what an honest worker would know. */
async function sampling(
  worker: ScriptedWorker,
  onRollout: (rollout: Rollout) => Promise<void> = async () => undefined,
  changes: Partial<TaskContext> = {},
): Promise<{ outcome: Promise<string>; offer: TaskOffer; header: RolloutTaskHeader; groups: RolloutGroup[] }> {
  const outcome = settled(trainer.rollout(context(changes), plan, onRollout));
  const offer = await worker.next('offer');
  return { outcome, offer, ...(await worker.fetchRolloutTask(offer)) };
}

/** 'ok', or the reason of the rejection. */
async function settled(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'ok',
    (error: { reason: string }) => error.reason,
  );
}

/** Reason that a failed call carried. */
async function refused(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'ok',
    (error: { metadata: { get(key: string): unknown[] } }) => error.metadata.get(REASON_KEY)[0],
  );
}

function allParts(groups: readonly RolloutGroup[]): RolloutChunk['part'][] {
  return groups.flatMap((group) => [0, 1].flatMap((index) => rolloutParts(group, index)));
}

describe('control stream', () => {
  it('welcomes a worker of this protocol version with the heartbeat interval', async () => {
    const worker = new ScriptedWorker(server.port);
    workers.push(worker);
    expect(await worker.next('welcome')).toEqual({ heartbeatIntervalMs: 100 });
    expect(await trainer.ready(context().signal)).toEqual({ workerId: 'w1', device: 'cpu' });
  });

  it('refuses another protocol version and names both', async () => {
    const worker = new ScriptedWorker(server.port, { protocolVersion: 99 });
    workers.push(worker);
    const failure = await worker.failure;
    expect(failure.metadata.get(REASON_KEY)).toEqual(['PROTOCOL_VERSION_MISMATCH']);
    expect(failure.code).toBe(9);
    expect(failure.details).toMatch(/expected protocol version 2, received 99 from worker w1/);
    expect(trainer.worker).toBeNull();
  });

  it('refuses a second worker and lets a restarted one replace its old stream', async () => {
    const first = await connected();
    const other = new ScriptedWorker(server.port, { workerId: 'w2' });
    workers.push(other);
    expect((await other.failure).metadata.get(REASON_KEY)).toEqual(['STATE_CONFLICT']);
    await connected();
    expect((await first.failure).metadata.get(REASON_KEY)).toEqual(['STATE_CONFLICT']);
    expect(trainer.worker?.workerId).toBe('w1');
  });

  it('tells the worker to disconnect on shutdown', async () => {
    const worker = await connected();
    trainer.shutdown('bye');
    expect(await worker.next('shutdown')).toEqual({ message: 'bye' });
  });
});

describe('happy path', () => {
  it('prepares with every field of the recipe and returns what was loaded', async () => {
    const worker = await connected();
    const model = trainer.prepare(context({ policyVersion: 4 }), tinyRecipe());
    const offer = await worker.prepare();
    expect(offer).toMatchObject({ runId: 'r1', iteration: 0, attempt: 1, policyVersion: 4n });
    if (offer.work?.$case !== 'prepare') throw new Error('expected prepare');
    expect(offer.work.value.runSeed).toBe(7n);
    expect(offer.work.value.config).toMatchObject({
      model: { path: 'models/tiny-world', precision: 'float32', lora: { rank: 16, alpha: 32 } },
      sampling: { windowSize: 2, guidanceScale: 1 },
      capture: { blocks: [1], t5Weight: 0.7 },
      objective: { kind: { $case: 'policyGradient', value: { clipRange: 0.1, optimizerStepCount: 1 } } },
      optimizer: { learningRate: 1e-4, warmupStepCount: 0 },
      microBatchSize: 2,
      checkpointEvery: 2,
    });
    expect(offer.work.value.config?.sampling?.sigmas).toHaveLength(5);
    expect(await model).toMatchObject({ policyVersion: 4, tokenRows: 2, tokenColumns: 2, parameterCount: 100 });
  });

  it('sends the plan with its attention masks and hands rollouts over in order', async () => {
    const worker = await prepared();
    const received: Rollout[] = [];
    const task = await sampling(worker, async (rollout) => {
      received.push(rollout);
    });
    expect(task.header).toEqual({
      groupCount: 2,
      sigmas: [1, 0.6, 0.3, 0],
      windowStart: 0,
      windowSize: 2,
      keepTrajectory: true,
    });
    expect(task.groups[0]?.attentionMasks).toEqual([
      { stepIndex: 0, conceptIndexes: [0] },
      { stepIndex: 1, conceptIndexes: [0] },
    ]);
    expect(task.groups[1]?.rollouts[1]?.seed).toBe(2n ** 62n + 1n);
    const response = await worker.submit([echo(task.offer, task.header), ...allParts(task.groups)]);
    expect(response).toEqual({ acceptedCount: 4, repeatedCount: 0 });
    worker.complete(task.offer, 0);
    expect(await task.outcome).toBe('ok');
    expect(received.map((rollout) => rollout.rolloutId)).toEqual(['0-0-0', '0-0-1', '0-1-0', '0-1-1']);
    expect(received[1]?.image).toEqual(Uint8Array.of(1, 2, 1));
    expect(received[1]?.attention?.values).toEqual({ shape: [2, 1, 2, 2], data: new Float32Array(8).fill(1) });
  });

  it('streams loss masks in order, codes maps, and leaves a missing advantage absent', async () => {
    const worker = await prepared();
    const maps = { shape: [1, 2, 2], data: Float32Array.of(2, 1.5, 0.5, 0) };
    const masks: LossMask[] = [
      { rolloutId: '0-0-0', advantage: 0.5, allocationMaps: maps, stepIndexes: [1] },
      { rolloutId: '0-0-1', advantage: null, allocationMaps: null, stepIndexes: [] },
      { rolloutId: '0-1-0', advantage: 0, allocationMaps: null, stepIndexes: [] },
    ];
    const outcome = trainer.update(
      context(),
      { seed: 5n, forceCheckpoint: true },
      (async function* () {
        yield* masks;
      })(),
    );
    const offer = await worker.next('offer');
    expect(offer.work).toEqual({ $case: 'update', value: { seed: 5n, forceCheckpoint: true } });
    const received = await worker.fetchLossMasks(offer);
    expect(received.map((mask) => mask.advantage)).toEqual([0.5, undefined, 0]);
    expect(received[0]?.allocationMaps?.data).toEqual(Buffer.of(255, 191, 64, 0));
    expect(received[0]?.scales).toEqual([Math.fround(2 / 255)]);
    const metrics = { values: { loss: 0.25 }, seconds: { optimising: 1 } };
    worker.complete(offer, 1, { $case: 'update', value: { metrics, checkpointWritten: true, checkpointPath: '/c/1' } });
    expect(await outcome).toEqual({
      policyVersion: 1,
      metrics: { loss: 0.25 },
      seconds: { optimising: 1 },
      checkpointWritten: true,
      checkpointPath: '/c/1',
    });
  });

  it('sends a mask that is there before it waits for the next one', async () => {
    const worker = await prepared();
    const gate = Promise.withResolvers<void>();
    const mask = (rolloutId: string): LossMask => ({ rolloutId, advantage: 1, allocationMaps: null, stepIndexes: [] });
    const source = async function* (): AsyncGenerator<LossMask> {
      yield mask('a');
      await gate.promise;
      yield mask('b');
    };
    const outcome = settled(trainer.update(context(), { seed: 0n, forceCheckpoint: false }, source()));
    const offer = await worker.next('offer');
    const seen: string[] = [];
    for await (const { chunk } of worker.client.fetchLossMasks({
      taskId: offer.taskId,
      leaseToken: offer.leaseToken,
    })) {
      seen.push(...chunk.masks.map((each: { rolloutId: string }) => each.rolloutId));
      if (seen.length === 1) gate.resolve();
    }
    expect(seen).toEqual(['a', 'b']);
    worker.fail(offer, ErrorReason.ERROR_REASON_NOT_ON_POLICY, 'ratio 1.2');
    expect(await outcome).toBe('NOT_ON_POLICY');
  });

  it('exports', async () => {
    const worker = await prepared();
    const outcome = trainer.export(context());
    worker.complete(await worker.next('offer'), 0, { $case: 'export', value: { path: '/e', format: 'lora' } });
    expect(await outcome).toEqual({ path: '/e', format: 'lora' });
  });
});

describe('backpressure', () => {
  it('reads no further rollout while the pipeline has not taken the one before', async () => {
    const worker = await prepared();
    const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
    const started: number[] = [];
    const task = await sampling(worker, async () => {
      started.push(started.length);
      await gates[started.length - 1]?.promise;
    });
    const response = worker.submit([echo(task.offer, task.header), ...allParts(task.groups)]);
    for (const [index, gate] of gates.entries()) {
      await expect.poll(() => started.length).toBe(index + 1);
      gate.resolve();
    }
    expect((await response).acceptedCount).toBe(4);
  });

  it('stops pulling masks while the worker does not read', async () => {
    const worker = await prepared();
    const maps = { shape: [1, 512, 512], data: new Float32Array(512 * 512).fill(1) };
    let pulled = 0;
    const source = async function* (): AsyncGenerator<LossMask> {
      for (; pulled < 999; pulled += 1) yield { rolloutId: 'a', advantage: 1, allocationMaps: maps, stepIndexes: [0] };
    };
    const outcome = settled(trainer.update(context(), { seed: 0n, forceCheckpoint: false }, source()));
    const offer = await worker.next('offer');
    const call = worker.client.fetchLossMasks({ taskId: offer.taskId, leaseToken: offer.leaseToken });
    call.on('error', () => undefined);
    // A client of grpc-js holds the connection back only from its first read on.
    await call[Symbol.asyncIterator]().next();
    let before = -1;
    while (before !== pulled || pulled === 0) {
      before = pulled;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // 16 queued messages of 1 MiB, the window, and the socket buffers.
    expect(pulled).toBeLessThan(200);
    call.cancel();
    expect(await outcome).toBe('WORKER_LOST');
  });
});

describe('leases', () => {
  it('a task without heartbeats is lost, its stream is closed and its token is refused', async () => {
    const worker = await prepared();
    const task = await sampling(worker);
    clock.advance(LEASE_MS);
    expect(await task.outcome).toBe('WORKER_LOST');
    expect((await worker.failure).metadata.get(REASON_KEY)).toEqual(['LEASE_EXPIRED']);
    expect(await refused(worker.submit([echo(task.offer, task.header)]))).toBe('LEASE_EXPIRED');
    expect(await refused(worker.fetchRolloutTask(task.offer))).toBe('LEASE_EXPIRED');
  });

  it('heartbeats keep it, and the next try counts as attempt 2', async () => {
    const worker = await prepared();
    const task = await sampling(worker);
    const moved = Promise.withResolvers<void>();
    for (let beat = 0; beat < 3; beat += 1) {
      clock.advance(LEASE_MS - 1);
      worker.heartbeat(task.offer);
      // A call on the same connection that is answered after the heartbeat was read.
      await worker.fetchRolloutTask(task.offer);
    }
    moved.resolve();
    worker.fail(task.offer, ErrorReason.ERROR_REASON_INTERNAL, 'out of luck');
    expect(await task.outcome).toBe('INTERNAL');
    expect((await sampling(worker)).offer.attempt).toBe(2);
  });

  it('refuses a wrong token without harm to the task', async () => {
    const worker = await prepared();
    const task = await sampling(worker);
    const forged = { ...task.offer, leaseToken: 'guess' };
    expect(await refused(worker.submit([echo(forged, task.header)]))).toBe('LEASE_EXPIRED');
    expect(await refused(worker.fetchRolloutTask(forged))).toBe('LEASE_EXPIRED');
    expect(await refused(worker.fetchLossMasks(forged))).toBe('LEASE_EXPIRED');
    await worker.submit([echo(task.offer, task.header), ...allParts(task.groups)]);
    worker.complete(task.offer, 0);
    expect(await task.outcome).toBe('ok');
  });

  it('counts a rollout that it had already as repeated and hands it over once', async () => {
    const worker = await prepared();
    const received: string[] = [];
    const task = await sampling(worker, async ({ rolloutId }) => {
      received.push(rolloutId);
    });
    const [first] = task.groups as [RolloutGroup];
    await worker.submit([echo(task.offer, task.header), ...rolloutParts(first, 0)]);
    const again = await worker.submit([echo(task.offer, task.header), ...allParts(task.groups)]);
    expect(again).toEqual({ acceptedCount: 3, repeatedCount: 1 });
    expect(received).toEqual(['0-0-0', '0-0-1', '0-1-0', '0-1-1']);
  });
});

describe('loss and stop', () => {
  it('a broken control stream is WORKER_LOST at once, and other work needs prepare again', async () => {
    const worker = await prepared();
    const task = await sampling(worker);
    worker.kill();
    expect(await task.outcome).toBe('WORKER_LOST');
    expect(await settled(trainer.prepare(context(), tinyRecipe()))).toBe('WORKER_LOST');
    await connected();
    expect(await settled(trainer.rollout(context(), plan, async () => undefined))).toBe('WORKER_LOST');
  });

  it('abort is CANCELLED, the worker is told, and it gets no work before it reported', async () => {
    const worker = await prepared();
    const controller = new AbortController();
    const task = await sampling(worker, undefined, { signal: controller.signal });
    controller.abort();
    expect(await task.outcome).toBe('CANCELLED');
    expect(await worker.next('cancel')).toEqual({ taskId: task.offer.taskId });
    expect(await refused(worker.fetchRolloutTask(task.offer))).toBe('LEASE_EXPIRED');
    const next = settled(trainer.export(context()));
    let ready = false;
    void trainer.ready(context().signal).then(() => {
      ready = true;
    });
    await Promise.resolve();
    expect(ready).toBe(false);
    worker.fail(task.offer, ErrorReason.ERROR_REASON_CANCELLED, 'stopped');
    worker.complete(await worker.next('offer'), 0, { $case: 'export', value: { path: '/e', format: 'lora' } });
    expect(await next).toBe('ok');
  });

  it('an abort before the turn leaves the order of the others', async () => {
    const worker = await prepared();
    const controller = new AbortController();
    const first = await sampling(worker);
    const second = settled(trainer.export(context({ signal: controller.signal })));
    const third = settled(trainer.export(context()));
    controller.abort();
    expect(await second).toBe('CANCELLED');
    await worker.submit([echo(first.offer, first.header), ...allParts(first.groups)]);
    worker.complete(first.offer, 0);
    worker.complete(await worker.next('offer'), 0, { $case: 'export', value: { path: '/e', format: 'lora' } });
    expect(await third).toBe('ok');
  });
});

describe('refusals', () => {
  type Parts = RolloutChunk['part'][];
  const change =
    (index: number, value: object): ((parts: Parts) => Parts) =>
    (parts) =>
      parts.map((part, at) =>
        at === index ? ({ ...part, value: { ...part?.value, ...value } } as Parts[number]) : part,
      );
  const attention =
    (value: object) =>
    (parts: Parts): Parts => {
      const result = parts[1];
      if (result?.$case !== 'result') throw new Error('expected a result');
      return change(1, { attention: { ...result.value.attention, ...value } })(parts);
    };

  it.each<[string, string, (parts: Parts) => Parts]>([
    ['other sigmas', 'TASK_ECHO_MISMATCH', change(0, { sigmas: [1, 0.6, 0.30000000000000004, 0] })],
    ['another policy version', 'TASK_ECHO_MISMATCH', change(0, { policyVersion: 3n })],
    ['another attempt', 'TASK_ECHO_MISMATCH', change(0, { attempt: 2 })],
    ['another seed', 'TASK_ECHO_MISMATCH', change(1, { seed: 2n ** 62n + 1n })],
    ['another prompt', 'TASK_ECHO_MISMATCH', change(1, { promptHash: 'ab' })],
    ['a rollout out of order', 'TASK_ECHO_MISMATCH', change(1, { rolloutId: '0-1-0' })],
    ['no attention', 'TASK_ECHO_MISMATCH', change(1, { attention: undefined })],
    ['other steps', 'TASK_ECHO_MISMATCH', attention({ stepIndexes: [0, 2] })],
    ['no values', 'TENSOR_INVALID', attention({ values: undefined })],
    [
      'another shape',
      'TENSOR_INVALID',
      attention({ values: { dataType: 4, shape: [2, 1, 2, 3], data: new Uint8Array(12) } }),
    ],
    [
      'too few bytes',
      'TENSOR_INVALID',
      attention({ values: { dataType: 4, shape: [2, 1, 2, 2], data: new Uint8Array(7) } }),
    ],
    [
      'another type',
      'TENSOR_INVALID',
      attention({ values: { dataType: 1, shape: [2, 1, 2, 2], data: new Uint8Array(32) } }),
    ],
    [
      'an unknown type',
      'TENSOR_INVALID',
      attention({ values: { dataType: 77, shape: [2, 1, 2, 2], data: new Uint8Array(8) } }),
    ],
    ['a scale that is not finite', 'TENSOR_INVALID', attention({ scales: [0, Number.NaN] })],
    ['too few offsets', 'TENSOR_INVALID', attention({ offsets: [1] })],
    ['negative attention', 'TENSOR_INVALID', attention({ offsets: [1, -1] })],
    ['an unknown concept', 'TENSOR_INVALID', attention({ unmappedConceptIndexes: [1] })],
    ['a picture too large', 'IMAGE_INVALID', change(1, { imageByteCount: 2 ** 30 })],
    ['a gap in a picture', 'IMAGE_INVALID', change(3, { offset: 1 })],
    ['a cut picture', 'IMAGE_INVALID', (parts) => parts.slice(0, 3)],
  ])('%s: %s for the call and the task, and the worker is told to stop', async (_, reason, spoil) => {
    const worker = await prepared();
    const task = await sampling(worker);
    const [first] = task.groups as [RolloutGroup];
    const parts = spoil([echo(task.offer, task.header), ...rolloutParts(first, 0)]);
    expect(await refused(worker.submit(parts))).toBe(reason);
    expect(await task.outcome).toBe(reason);
    expect(await worker.next('cancel')).toEqual({ taskId: task.offer.taskId });
  });

  it('a task reported complete with rollouts missing is refused', async () => {
    const worker = await prepared();
    const task = await sampling(worker);
    worker.complete(task.offer, 0);
    expect(await task.outcome).toBe('TASK_ECHO_MISMATCH');
  });

  it('an update with a metric that is not finite is refused', async () => {
    const worker = await prepared();
    const outcome = settled(trainer.update(context(), { seed: 0n, forceCheckpoint: false }, (async function* () {})()));
    const offer = await worker.next('offer');
    expect(await worker.fetchLossMasks(offer)).toEqual([]);
    const metrics = { values: { loss: Number.NaN }, seconds: {} };
    worker.complete(offer, 1, { $case: 'update', value: { metrics, checkpointWritten: false, checkpointPath: '' } });
    expect(await outcome).toBe('NOT_FINITE');
  });

  it('a failure of the pipeline reaches the worker as its reason, and an unknown one as an id that is logged', async () => {
    const worker = await prepared();
    const task = await sampling(worker, async () => {
      throw new TypeError('secret detail');
    });
    const [first] = task.groups as [RolloutGroup];
    const call = worker.submit([echo(task.offer, task.header), ...rolloutParts(first, 0)]);
    await expect(call).rejects.toMatchObject({ code: 13, details: expect.stringMatching(/^internal error id-\d+;/) });
    expect(logged).toHaveLength(1);
    expect(await task.outcome).toBe('INTERNAL');
  });
});
