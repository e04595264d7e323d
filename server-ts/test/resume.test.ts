import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type RunView } from '../src/cli/api-client.js';
import { isFinal } from '../src/core/run-state.js';
import { type ControlPlane, startControlPlane } from '../src/main.js';
import type { ReportData } from '../src/report/report-types.js';
import { PROTOCOL_VERSION } from '../src/rpc/protocol-version.js';
import { hash, logEntries, newFolder, ROOT, START_MS, shrunkRecipe, until, weightsHash } from './end-to-end.js';

/** The whole system in one piece: real worker, gRPC, scorer processes over ZeroMQ with ONNX, SQLite, HTTP. */

/** A run takes seconds on an idle machine; this is for a busy one. */
const RUN_MS = 400_000;
const PYTHON = join(ROOT, '.venv/bin/python');

let folder: string;
let plane: ControlPlane;
let client: ApiClient;
/** The run that nothing happened to; the others are compared with it. */
let undisturbed: RunView;

beforeAll(async () => {
  folder = newFolder();
  plane = await startControlPlane({
    dataDir: folder,
    host: '127.0.0.1',
    httpPort: 0,
    grpcPort: 0,
    scorerListen: null,
    leftovers: 'serve',
    localWorker: true,
    python: PYTHON,
    log: 'file',
  });
  client = new ApiClient(plane.url);
  undisturbed = await completed(await client.createRun(shrunkRecipe('tiny-geneval-star.yaml')));
}, RUN_MS);

afterAll(async () => {
  await plane?.stop();
  rmSync(folder, { recursive: true, force: true });
}, START_MS);

async function ended({ runId }: RunView): Promise<RunView> {
  await until(async () => isFinal((await client.getRun(runId)).state), RUN_MS);
  return client.getRun(runId);
}

async function completed(run: RunView): Promise<RunView> {
  const view = await ended(run);
  expect([view.state, view.failure]).toEqual(['SUCCEEDED', null]);
  return view;
}

/** Waits for an event of a run. */
async function eventOf({ runId }: RunView, name: string, matches: (fields: Record<string, unknown>) => boolean) {
  const stop = new AbortController();
  for await (const event of client.events(runId, AbortSignal.any([stop.signal, AbortSignal.timeout(RUN_MS)]))) {
    if (event.name !== name || !matches(event.fields)) continue;
    stop.abort();
    return event;
  }
  throw new Error(`there was no event ${name}`);
}

const report = async ({ runId }: RunView): Promise<ReportData> => (await client.report(runId)) as ReportData;

/** All that has to be the same, whatever happened in between: series, evaluations with pictures, exported weights. */
async function outcome(run: RunView) {
  const { evaluations } = (await (await fetch(`${plane.url}/v1/runs/${run.runId}/evaluations`)).json()) as {
    evaluations: { policyVersion: number; items: { image: string }[] }[];
  };
  const pictures = evaluations.flatMap(({ items }) => items.map(({ image }) => pictureAt(image)));
  return {
    metrics: await client.metrics(run.runId),
    evaluations: evaluations.map(({ policyVersion, items }) => ({
      policyVersion,
      items: items.map((item) => ({ ...item, image: null })),
    })),
    pictures: await Promise.all(pictures),
    weights: weightsHash((await report(run)).export?.path ?? ''),
  };
}

const pictureAt = async (path: string): Promise<string> =>
  hash(Buffer.from(await (await fetch(plane.url + path)).arrayBuffer()));

describe('a killed worker', () => {
  it('is started again and ends with the same series, pictures and weights, bit for bit', {
    timeout: RUN_MS,
  }, async () => {
    const run = await client.createRun(shrunkRecipe('tiny-geneval-star.yaml'));
    await eventOf(run, 'iteration.completed', ({ iteration }) => iteration === 2);
    process.kill(Number(logEntries(folder, 'worker.process_started').at(-1)?.pid), 'SIGKILL');
    const lost = await eventOf(run, 'run.worker_lost', () => true);
    // Iteration 3 is gone with the worker: the last checkpoint is that of iteration 2.
    expect(lost.fields).toMatchObject({ checkpointVersion: 2 });
    await completed(run);
    expect(logEntries(folder, 'run.preparing').map(({ policyVersion }) => policyVersion)).toEqual([0, 0, 2]);
    const [expected, received] = [await outcome(undisturbed), await outcome(run)];
    expect(expected.metrics.filter(({ name }) => name === 'loss').map(({ iteration }) => iteration)).toEqual([
      0, 1, 2, 3,
    ]);
    expect(expected.pictures).toHaveLength(16);
    expect(received).toEqual(expected);
  });
});

describe('reports', () => {
  it.each(['tiny-geneval-star-forward.yaml', 'tiny-ocr-star.yaml'])('of %s', { timeout: RUN_MS }, async (recipe) => {
    await expectReport(await completed(await client.createRun(shrunkRecipe(recipe, ['iterations=2']))));
  });

  it('of the policy gradient', () => expectReport(undisturbed));

  async function expectReport(run: RunView): Promise<void> {
    const runFolder = join(folder, 'runs', run.runId);
    const data = JSON.parse(readFileSync(join(runFolder, 'report.json'), 'utf8')) as ReportData;
    const { mean, low, high } = data.evaluation.pairedDifference ?? {};
    expect([mean, low, high].map(Number.isFinite)).toEqual([true, true, true]);
    expect([data.evaluation.count, data.evaluation.missing]).toEqual([8, 0]);
    expect(data.run).toMatchObject({ state: 'SUCCEEDED', completedIterations: run.iterations });
    expect(data.export?.code).toContain(data.export?.path);
    expect(existsSync(data.export?.path ?? '')).toBe(true);
    const html = readFileSync(join(runFolder, 'report.html'), 'utf8');
    expect(html).toContain('load_lora_weights');
    expect(html.match(/data:image\/png;base64/g)?.length).toBeGreaterThan(16);
  }
});

describe('bad input', () => {
  it('a missing model folder fails the run by name; it goes on when the folder is there', {
    timeout: RUN_MS,
  }, async () => {
    const model = join(folder, 'model');
    const changes = ['iterations=1', `model.path=${model}`];
    const run = await client.createRun(shrunkRecipe('tiny-geneval-star-forward.yaml', changes));
    const { state, failure } = await ended(run);
    expect(state).toBe('FAILED');
    expect(failure).toMatch(/^MODEL_NOT_LOADABLE: /);
    expect(failure).toContain(model);
    symlinkSync(join(ROOT, 'models/tiny-world'), model);
    await completed(await client.resumeRun(run.runId));
  });

  it('a worker of another protocol version is told both versions and gives up', { timeout: START_MS }, async () => {
    const program = [
      'import sys, star_worker',
      'star_worker.PROTOCOL_VERSION = 77',
      'from star_worker.__main__ import main',
      'sys.exit(main())',
    ];
    const options = [
      '--server',
      plane.grpcAddress ?? '',
      '--data-dir',
      join(folder, 'stranger'),
      '--worker-id',
      'stranger',
    ];
    const worker = spawn(PYTHON, ['-c', program.join('\n'), ...options, '--log-format', 'text']);
    let said = '';
    worker.stderr.on('data', (data) => {
      said += data;
    });
    expect(await once(worker, 'close')).toEqual([3, null]);
    expect(said).toContain(`PROTOCOL_VERSION_MISMATCH: expected protocol version ${PROTOCOL_VERSION}, received 77`);
    expect(await (await fetch(`${plane.url}/v1/status`)).json()).toMatchObject({ worker: { workerId: 'local-0' } });
  });
});
