import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readReward } from '../config/read-recipe.js';
import { recipeSchema } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { IterationRecord } from '../pipeline/ports.js';
import { ArtifactFiles } from '../storage/artifact-files.js';
import { openDatabase } from '../storage/database.js';
import { SqliteRunStore } from '../storage/sqlite-run-store.js';
import { EventFeed } from '../telemetry/event-feed.js';
import { createRestApp } from './app.js';
import { listenRest, type RestServer } from './listen.js';

const RECIPE = `
name: tiny
task: geneval
iterations: 2
model: {path: models/tiny-world, height: 64, width: 64, maxSequenceLength: 16}
prompts: {train: a.jsonl, evaluation: b.jsonl, groupsPerIteration: 1, groupSize: 2}
sampling: {numInferenceSteps: 4, windowSize: 2}
evaluation: {numInferenceSteps: 4, promptCount: 2}
reward: {components: [{name: geneval, scorer: geneval}]}
objective: {kind: policy_gradient, clipRange: 0.1}
optimizer: {learningRate: 0.001}
worker: {microBatchSize: 2}
`;
const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);

const iteration: IterationRecord = {
  runId: 'run-1',
  iteration: 0,
  metrics: { 'reward/mean': 0.5 },
  seconds: { rollout: 1.5 },
  checkpointVersion: null,
  rollouts: [
    {
      rolloutId: '0-0-0',
      iteration: 0,
      promptIndex: 0,
      prompt: 'a red circle',
      tag: 'colors',
      seed: 9_007_199_254_740_993n,
      reward: null,
      advantage: null,
      rewardVersion: 1,
      scores: {},
      imagePath: 'rollouts/0-0-0.png',
      mapsPath: null,
    },
  ],
};

let folder: string;
let server: RestServer;
let store: SqliteRunStore;
let events: EventFeed;
let errors: string[];

async function start(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), 'star-rest-'));
  store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), () => new Date().toISOString());
  const artifacts = new ArtifactFiles(join(folder, 'runs'));
  await artifacts.put('run-1', 'rollouts/0-0-0.png', PNG);
  events = new EventFeed();
  errors = [];
  const app = createRestApp({
    store,
    artifacts,
    scorers: {
      list: async () => ({ bundles: [{ name: 'ppocr-v4' }], broken: [] }),
      find: async (reference) => ({ name: reference }),
    },
    events,
    runs: {
      create: async (recipeText) => {
        const recipe = recipeSchema.safeParse(parse(recipeText));
        if (!recipe.success) throw new StarError('RECIPE_INVALID', recipe.error.message);
        return store.createRun({ runId: 'run-1', recipe: recipe.data, recipeText });
      },
      stop: async (runId) => store.setState(runId, 'STOPPED'),
      resume: async (runId) => store.setState(runId, 'QUEUED'),
      stageReward: async (runId, text, author) => {
        const reward = readReward(text, store.getRun(runId).recipe);
        return store.advanceReward(runId, { kind: 'staged', reward, author, earliestIteration: 1 });
      },
      rollBackReward: async (runId, author) =>
        store.advanceReward(runId, { kind: 'rolledBack', author, earliestIteration: 1 }),
    },
    status: () => ({
      version: '0',
      startedAt: '',
      worker: { workerId: 'cpu-0', device: 'cpu' },
      grpcAddress: '127.0.0.1:1',
      activeRunId: null,
    }),
    exposeMetrics: async () => ({ contentType: 'text/plain', text: 'star_iteration 1\n' }),
    reportHtml: async () => {
      throw new Error('secret inner detail');
    },
    reportJson: async () => '{}',
    writeReport: async (runId) => artifacts.locate(runId, 'report.html'),
    logError: (errorId) => errors.push(errorId),
  });
  server = await listenRest(app, 0);
}

/** Body of an answer; the assertions check its form. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of unknown form, checked by the assertions
const json = (response: Response): Promise<any> => response.json();

const get = (path: string): Promise<Response> => fetch(`${server.url}${path}`);
const post = (path: string, body?: string, type = 'application/yaml'): Promise<Response> =>
  fetch(
    `${server.url}${path}`,
    body === undefined ? { method: 'POST' } : { method: 'POST', body, headers: { 'content-type': type } },
  );

beforeEach(start);
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

describe('runs over HTTP', () => {
  it('creates a run from YAML and from JSON, lists it, stops and resumes it', async () => {
    const created = await post('/v1/runs', RECIPE);
    expect([created.status, created.headers.get('location')]).toEqual([201, '/v1/runs/run-1']);
    expect(await json(created)).toMatchObject({ runId: 'run-1', state: 'QUEUED', iterations: 2 });
    expect(await json(await get('/v1/runs'))).toMatchObject({ runs: [{ runId: 'run-1' }] });
    expect(await json(await post('/v1/runs/run-1/stop'))).toMatchObject({ state: 'STOPPED' });
    expect(await json(await post('/v1/runs/run-1/resume'))).toMatchObject({ state: 'QUEUED' });
    const again = await post('/v1/runs', JSON.stringify(parse(RECIPE)), 'application/json');
    expect([again.status, (await json(again)).reason]).toEqual([409, 'STATE_CONFLICT']);
  });

  it('gives series, rollouts with exact seeds, and pictures', async () => {
    await post('/v1/runs', RECIPE);
    store.commitIteration(iteration);
    expect(await json(await get('/v1/runs/run-1/metrics'))).toMatchObject({
      metrics: [{ iteration: 0, name: 'reward/mean', value: 0.5 }],
      seconds: [{ name: 'rollout', value: 1.5 }],
    });
    expect((await json(await get('/v1/runs/run-1/metrics?since=1'))).metrics).toEqual([]);
    const { rollouts } = await json(await get('/v1/runs/run-1/iterations/0/rollouts'));
    expect(rollouts[0]).toMatchObject({ seed: '9007199254740993', reward: null, maps: null });
    const image = await get(rollouts[0].image);
    expect(image.headers.get('content-type')).toBe('image/png');
    expect(new Uint8Array(await image.arrayBuffer())).toEqual(PNG);
    expect((await get('/v1/runs/run-1/rollouts/0-0-0/maps')).status).toBe(404);
  });

  it('stages a reward, shows what is in effect and what waits, and undoes it', async () => {
    await post('/v1/runs', RECIPE);
    const put = (body: string): Promise<Response> =>
      fetch(`${server.url}/v1/runs/run-1/reward?author=ann`, {
        method: 'PUT',
        body,
        headers: { 'content-type': 'application/yaml' },
      });
    const staged = await put('components: [{name: geneval, scorer: geneval, weight: 2}]');
    expect(staged.status).toBe(202);
    expect(await json(staged)).toMatchObject({ inEffect: { version: 1 }, pending: { version: 2, author: 'ann' } });
    const wrong = await put('components: [{name: geneval, scorer: geneval, wieght: 2}]');
    expect([wrong.status, (await json(wrong)).detail]).toEqual([400, expect.stringContaining('did you mean weight?')]);
    expect((await put(' ')).status).toBe(400);
    expect(await json(await get('/v1/runs/run-1/reward'))).toMatchObject({ pending: { version: 2 } });
    const undone = await json(await post('/v1/runs/run-1/reward/rollback'));
    expect(undone).toMatchObject({ pending: null, versions: [{ state: 'ACTIVE' }, { state: 'WITHDRAWN' }] });
    expect((await post('/v1/runs/run-1/reward/rollback')).status).toBe(409);
    expect((await get('/v1/runs/none/reward')).status).toBe(404);
  });

  it('streams events with ids and goes on after the last one seen', async () => {
    await post('/v1/runs', RECIPE);
    events.publish('run-1', 'one', { phase: 'rollout' });
    events.publish('run-1', 'two', {});
    const response = await fetch(`${server.url}/v1/runs/run-1/events`, { headers: { 'last-event-id': '1' } });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    events.publish('run-1', 'three', { iteration: 1 });
    let text = '';
    while (!text.includes('three')) text += (await reader?.read())?.value ?? '';
    expect(text).toContain('id: 2\nevent: two\ndata: {}\n\n');
    expect(text).toMatch(/id: 3\nevent: three\ndata: \{"iteration":1\}/);
    expect(text).not.toContain('event: one');
    await reader?.cancel();
  });
});

describe('errors over HTTP', () => {
  const reason = async (response: Response): Promise<[number, string]> => [
    response.status,
    (await json(response)).reason,
  ];

  it('answers bad recipes, unknown runs, bad parameters and unknown addresses as problem details', async () => {
    const bad = await post('/v1/runs', `${RECIPE}\niteratons: 3`);
    expect(bad.headers.get('content-type')).toContain('application/problem+json');
    expect(await reason(bad)).toEqual([400, 'RECIPE_INVALID']);
    expect(await reason(await post('/v1/runs'))).toEqual([400, 'RECIPE_INVALID']);
    expect(await reason(await get('/v1/runs/none'))).toEqual([404, 'NOT_FOUND']);
    expect(await reason(await get('/v1/runs/none/events'))).toEqual([404, 'NOT_FOUND']);
    expect(await reason(await get('/v1/runs?limit=0'))).toEqual([400, 'ARGUMENT_INVALID']);
    expect(await reason(await get('/v1/nothing'))).toEqual([404, 'NOT_FOUND']);
  });

  it('lists scorer bundles and shows one by name, never by path', async () => {
    expect(await json(await get('/v1/scorers'))).toMatchObject({ bundles: [{ name: 'ppocr-v4' }] });
    expect(await json(await get('/v1/scorers/ppocr-v4@1.0.0'))).toEqual({ name: 'ppocr-v4@1.0.0' });
    expect((await get('/v1/scorers/..%2f..%2fetc')).status).toBe(400);
  });

  it('lets no path through that is not an id', async () => {
    for (const path of [
      '/v1/runs/%2e%2e%2fstar.db',
      '/v1/runs/run-1/rollouts/..%2f..%2fstar/image',
      '/v1/runs/a.b/report',
    ]) {
      expect(await reason(await get(path)), path).toEqual([400, 'ARGUMENT_INVALID']);
    }
  });

  it('refuses a recipe above the size limit', async () => {
    expect((await post('/v1/runs', `# ${'x'.repeat(300_000)}`)).status).toBe(413);
  });

  it('tells a client only an id of an unknown error', async () => {
    await post('/v1/runs', RECIPE);
    const response = await get('/v1/runs/run-1/report');
    const body = await json(response);
    expect([response.status, body.reason]).toEqual([500, 'INTERNAL']);
    expect(JSON.stringify(body)).not.toContain('secret');
    expect(errors).toEqual([body.errorId]);
  });

  it('refuses requests under a foreign host name or from a foreign page', async () => {
    const status = (headers: Record<string, string>): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        request(`${server.url}/v1/runs`, { headers }, (response) => resolve(response.resume().statusCode))
          .on('error', reject)
          .end();
      });
    expect(await status({ host: 'attacker.example' })).toBe(400);
    expect(await status({ origin: 'https://attacker.example' })).toBe(400);
    expect(await status({ origin: server.url })).toBe(200);
  });

  it('says which port is taken', async () => {
    await expect(listenRest(() => undefined, Number(new URL(server.url).port))).rejects.toThrow(/choose another port/);
  });
});

it('serves health, status and Prometheus text with safe headers', async () => {
  expect(await json(await get('/healthz'))).toEqual({ ok: true });
  expect(await json(await get('/v1/status'))).toMatchObject({ worker: { workerId: 'cpu-0' } });
  const metrics = await get('/metrics');
  expect(await metrics.text()).toContain('star_iteration 1');
  expect(metrics.headers.get('x-content-type-options')).toBe('nosniff');
});
