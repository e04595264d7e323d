import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readCommandSettings } from '../src/config/server-settings.js';
import type { LossMask } from '../src/core/types.js';
import { systemClock } from '../src/pipeline/clock.js';
import { startRpcServer } from '../src/rpc/server.js';
import { WorkerTrainer } from '../src/rpc/trainer.js';
import { createWorkerService } from '../src/rpc/worker-service.js';
import { tinyRecipe } from '../test/tiny-recipe.js';
import { type Figures, serveRounds } from './rounds.js';

/**
 * Loss masks over real gRPC on loopback: the control plane's own trainer, codec and service in this process, the worker's own
 * session, client and codec in a Python process. Maps are float32, so that bytes on the wire are bytes of weights.
 */

/** Loss masks of one rollout: 10 steps of 32 x 32 image tokens. */
const SHAPE = [10, 32, 32] as const;
const ELEMENTS = 10 * 32 * 32;
/** About one second at the goal. */
const MASK_COUNT = Math.ceil(300e6 / (4 * ELEMENTS));
const WARM_UP_ROUNDS = 2;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const python = readCommandSettings(process.env).python ?? `${ROOT}.venv/bin/python`;
if (!existsSync(python)) throw new Error(`${python} does not exist; run \`make setup\``);

const options = { clock: systemClock, newId: randomUUID, heartbeatIntervalMs: 60_000, leaseDurationMs: 600_000 };
const trainer = new WorkerTrainer({ ...options, telemetry: { event: () => undefined, metrics: () => undefined } });
const logError = (id: string, error: unknown): void => console.error(id, error);
const service = createWorkerService({ trainer, newId: randomUUID, log: logError });
const server = await startRpcServer({ port: 0, service });
const reader = spawn(python, [`${ROOT}trainer-worker/bench/mask_stream_reader.py`, `127.0.0.1:${server.port}`], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
const gone = new AbortController();
const exited = once(reader, 'exit').then(() => gone.abort());
const context = { runId: 'bench', iteration: 0, policyVersion: 0, signal: gone.signal };
try {
  await trainer.ready(gone.signal);
  // The recipe's other number format, uint8, is float32 maps too once the worker has decoded them, but with fewer bytes sent.
  await trainer.prepare(context, tinyRecipe({ allocation: { blocks: [0], wire: 'float16' } }));
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await measure();
  await serveRounds(measure);
} finally {
  trainer.shutdown('measured');
  await exited;
  server.close();
}

/** Streams the masks of one update task. The reader reports its own seconds, from its request to its last mask. */
async function measure(): Promise<Figures> {
  const { metrics } = await trainer.update(context, { seed: 0n, forceCheckpoint: false }, masks());
  const { bytes = 0, seconds = Number.NaN } = metrics;
  if (bytes !== MASK_COUNT * ELEMENTS * 4) throw new Error(`the reader received ${bytes} bytes of maps`);
  return { mask_stream_mb_per_second: bytes / 1e6 / seconds };
}

async function* masks(): AsyncGenerator<LossMask> {
  const allocationMaps = { shape: SHAPE, data: uniformOnAverage() };
  const stepIndexes = [...Array(SHAPE[0]).keys()];
  for (let index = 0; index < MASK_COUNT; index += 1) {
    yield { rolloutId: `0-0-${index}`, advantage: 0.5, allocationMaps, stepIndexes };
  }
}

/** Weights around 1 with mean 1 in every step, as the worker demands. */
function uniformOnAverage(): Float32Array {
  return Float32Array.from({ length: ELEMENTS }, (_, index) => 1 + (index % 2 === 0 ? 0.5 : -0.5));
}
