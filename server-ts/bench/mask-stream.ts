import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LossMask } from '../src/core/types.js';
import { systemClock } from '../src/pipeline/clock.js';
import { startRpcServer } from '../src/rpc/server.js';
import { WorkerTrainer } from '../src/rpc/trainer.js';
import { createWorkerService } from '../src/rpc/worker-service.js';
import { tinyRecipe } from '../test/tiny-recipe.js';

/** Loss masks of one rollout: 10 steps of 64 x 64 image tokens, as SD3.5 Medium at 1024 pixels has. */
const SHAPE = [10, 64, 64] as const;
const ELEMENTS = 10 * 64 * 64;
const WARM_UP = 2;

/**
 * Loss masks over real gRPC on loopback, through the product's own trainer, codec and service, to a reader in another
 * process. `float32`: maps as they are; `uint8`: coded on the way, counted in bytes on the wire.
 *
 * @param megabytes to stream per measurement
 * @returns MB/s (10^6 bytes) per measurement; the first two warm the compiler up and are left out
 */
export async function measureMaskStream(
  format: 'float32' | 'uint8',
  megabytes: number,
  measurements: number,
): Promise<number[]> {
  const options = { clock: systemClock, newId: randomUUID, heartbeatIntervalMs: 60_000, leaseDurationMs: 600_000 };
  const trainer = new WorkerTrainer({ ...options, telemetry: { event: () => undefined, metrics: () => undefined } });
  const service = createWorkerService({ trainer, newId: randomUUID, log: () => undefined });
  const server = await startRpcServer({ port: 0, service });
  const client = fileURLToPath(new URL('mask-stream-client.ts', import.meta.url));
  const reader = spawn(process.execPath, ['--import', 'tsx', client, String(server.port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface(reader.stdout)[Symbol.asyncIterator]();
    const speeds: number[] = [];
    const { signal } = new AbortController();
    await trainer.ready(signal);
    const context = { runId: 'bench', iteration: 0, policyVersion: 0, signal };
    const wire = format === 'uint8' ? 'uint8' : 'float16';
    await trainer.prepare(context, tinyRecipe({ allocation: { blocks: [0], wire } }));
    for (let index = 0; index < WARM_UP + measurements; index += 1) {
      const count = Math.ceil((megabytes * 1e6) / ELEMENTS / (format === 'uint8' ? 1 : 4));
      await trainer.update(context, { seed: 0n, forceCheckpoint: false }, masks(count));
      const { value } = await lines.next();
      const { bytes, seconds } = JSON.parse(String(value)) as { bytes: number; seconds: number };
      speeds.push(bytes / 1e6 / seconds);
    }
    return speeds.slice(WARM_UP);
  } finally {
    reader.kill();
    server.close();
  }
}

async function* masks(count: number): AsyncGenerator<LossMask> {
  const data = Float32Array.from({ length: ELEMENTS }, (_, index) => 0.5 + (index % 97) / 97);
  const allocationMaps = { shape: SHAPE, data };
  const stepIndexes = [...Array(SHAPE[0]).keys()];
  for (let index = 0; index < count; index += 1) {
    yield { rolloutId: `0-0-${index}`, advantage: 0.5, allocationMaps, stepIndexes };
  }
}
