import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { readRecipe } from '../../config/read-recipe.js';
import { recipeSchema } from '../../config/recipe.js';
import type { Score } from '../../core/types.js';
import type { RewardScorer, ScoreRequest } from '../../pipeline/ports.js';
import { BundleStore } from '../bundle/bundle-store.js';
import { loadScorerBundle, type ScorerBundle } from '../bundle/scorer-bundle.js';
import { createRewardScorer } from '../reward-scorer.js';
import type { Scorer, ScorerInput, ScorerOutcome } from '../scorer.js';
import type { HttpManifest } from './http-manifest.js';
import { requestSchema, responseSchema } from './http-messages.js';
import { openHttpScorer } from './http-scorer.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const reference = join(root, 'scorers/http-reference');
const fixtures = new URL('../fixtures/', import.meta.url);
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const { signal } = new AbortController();
const closers: (() => unknown)[] = [];
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-test-'));
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

/** The reference bundle with another address and more. */
async function bundleAt(url: string, more = ''): Promise<ScorerBundle<HttpManifest>> {
  const text = await readFile(join(reference, 'manifest.yaml'), 'utf8');
  await writeFile(join(folder, 'manifest.yaml'), `${text.replace(/^url: .*$/m, `url: ${url}`)}${more}`);
  return (await loadScorerBundle(folder)) as ScorerBundle<HttpManifest>;
}

async function startReference(): Promise<string> {
  const server = spawn('python3', [join(reference, 'server.py'), '0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  closers.push(async () => {
    server.kill();
    await once(server, 'close');
  });
  const [line] = await once(createInterface(server.stdout), 'line');
  return String(line);
}

/** A server that answers every POST in the same way; `info` is 404. */
async function startScripted(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') answer(request.resume(), response);
    else response.writeHead(404).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/score`;
}

async function inputs(...prompts: string[]): Promise<ScorerInput[]> {
  const png = await readFile(new URL('blank.png', fixtures));
  return prompts.map((prompt) => ({
    prompt: { prompt, tag: 'x', include: [], exclude: [], targetText: null },
    image: { width: 64, height: 64, data: new Uint8Array() },
    png,
  }));
}

/** What becomes of two pictures when the server answers `body`. */
async function outcomesFor(body: string, status = 200): Promise<ScorerOutcome[]> {
  const url = await startScripted((_, response) => response.writeHead(status).end(body));
  const scorer = await openHttpScorer(await bundleAt(url), {});
  return scorer.score(await inputs('a', 'b'));
}

function reasons(outcomes: readonly (ScorerOutcome | Score)[]): string[] {
  return outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.failure.reason : outcome.kind));
}

/** The scorer of a recipe whose only component is the bundle in `folder`. */
async function startRewardScorer(): Promise<RewardScorer> {
  const tiny = readRecipe(await readFile(join(root, 'recipes/tiny-geneval-star-forward.yaml'), 'utf8'));
  const component = { name: 'mine', scorer: 'http', bundle: folder };
  const recipe = recipeSchema.parse({ ...tiny, reward: { components: [component] } });
  const scorer = await createRewardScorer(recipe, signal, {
    bundles: new BundleStore(join(root, 'stored'), root),
    onEvent: () => undefined,
  });
  closers.push(() => scorer.close());
  return scorer;
}

async function requests(...prompts: string[]): Promise<ScoreRequest[]> {
  return (await inputs(...prompts)).map(({ prompt, png }, index) => ({ rolloutId: String(index), prompt, image: png }));
}

test('a run scores through the reference server, and every score names bundle hash and server version', async () => {
  const { bundleHash } = await bundleAt(await startReference());
  const scorer = await startRewardScorer();
  const [scored, abstained] = await scorer.score(await requests('a red circle', ''), signal);
  expect(scored?.mine).toMatchObject({
    kind: 'value',
    values: { score: 1 },
    evidence: { kind: 'none' },
    lineage: { scorer: 'http-reference 1', bundleHash, graphHashes: {}, runtime: 'http reference 1' },
  });
  expect(abstained?.mine).toMatchObject({ kind: 'abstained', message: 'the prompt is empty' });
});

test('a busy server is asked again', async () => {
  let asked = 0;
  const url = await startScripted((_, response) => {
    asked += 1;
    if (asked < 3) response.writeHead(503).end('busy');
    else response.end('{"results": [{"id": "0", "values": {"score": 0.5}}]}');
  });
  await bundleAt(url);
  const [scored] = await (await startRewardScorer()).score(await requests('a'), signal);
  expect(scored?.mine).toMatchObject({ kind: 'value', values: { score: 0.5 } });
  expect(asked).toBe(3);
});

test.each([
  ['not JSON', '{"results": [{"id": "0", "values": {"score": NaN}}]}', /not JSON/],
  ['another shape', '[1, 2]', /not as agreed/],
  ['no result for a picture', '{"results": []}', /expected one result with id "0", received 0/],
  ['a result without its value', '{"results": [{"id": "0", "values": {"other": 1}}]}', /lacks score; it has other/],
  ['a number as text', '{"results": [{"id": "0", "values": {"score": "1"}}]}', /numbers by name.*"score":"1"/],
  [
    'an unknown reason',
    '{"results": [{"id": "0", "error": {"reason": "NO", "message": ""}}]}',
    /reason of IMAGE_INVALID/,
  ],
])('refuses %s', async (_, body, message) => {
  const [first] = await outcomesFor(body);
  expect(first).toMatchObject({
    kind: 'failed',
    failure: { reason: 'SCORER_ANSWER_INVALID', message: expect.stringMatching(message) },
  });
});

test('a wrong result fails alone, in whatever order results come', async () => {
  const wrong = '{"id": "0", "values": {"score": 1e999}}';
  const right = '{"id": "1", "values": {"score": 0, "more": 1}}';
  const [first, second] = await outcomesFor(`{"results": [${right}, ${wrong}]}`);
  expect(first).toMatchObject({ kind: 'failed', failure: { reason: 'SCORE_NOT_FINITE' } });
  expect(second).toEqual({ kind: 'value', values: { score: 0 }, evidence: { kind: 'none' } });
});

test('statuses become reasons: what may pass is worth another try, what will not is not', async () => {
  expect(reasons(await outcomesFor('busy', 503))).toEqual(['SCORER_UNAVAILABLE', 'SCORER_UNAVAILABLE']);
  expect(reasons(await outcomesFor('no', 403))).toEqual(['SCORER_ANSWER_INVALID', 'SCORER_ANSWER_INVALID']);
});

test('an answer that is too large, too late or never comes is a failure of its own', async () => {
  const large = await startScripted((_, response) => response.end(' '.repeat(100_000)));
  const silent = await startScripted(() => undefined);
  const broken = await startScripted((request) => request.socket.destroy());
  const scoreAt = async (url: string, more: string): Promise<string[]> =>
    reasons(await (await openHttpScorer(await bundleAt(url, more), {})).score(await inputs('a')));
  expect(await scoreAt(large, 'maxResponseBytes: 99999\n')).toEqual(['SCORER_ANSWER_INVALID']);
  expect(await scoreAt(broken, '')).toEqual(['SCORER_UNAVAILABLE']);
  const bundle = await bundleAt(silent);
  const impatient = { ...bundle, manifest: { ...bundle.manifest, timeoutMs: 100 } };
  expect(reasons(await (await openHttpScorer(impatient, {})).score(await inputs('a')))).toEqual(['SCORER_TIMEOUT']);
});

test('header values come from the environment and are sent; the request follows the schema', async () => {
  let authorization: string | undefined;
  let body = '';
  const url = await startScripted((request, response) => {
    authorization = request.headers.authorization;
    request.on('data', (part: Buffer) => {
      body += part.toString();
    });
    request.on('end', () => response.end('{"results": [{"id": "0", "values": {"score": 1}}]}'));
  });
  const bundle = await bundleAt(url, 'headers: {Authorization: MY_TOKEN}\n');
  await expect(openHttpScorer(bundle, {})).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringContaining('MY_TOKEN'),
  });
  const scorer: Scorer = await openHttpScorer(bundle, { MY_TOKEN: 'Bearer x' });
  const [input] = await inputs('a sign');
  expect(reasons(await scorer.score([input as ScorerInput]))).toEqual(['value']);
  expect(authorization).toBe('Bearer x');
  expect(requestSchema.parse(JSON.parse(body)).items[0]?.image).toBe(Buffer.from(input?.png ?? []).toString('base64'));
});

test('a server that is not there is named when the scorer is loaded', async () => {
  await cp(reference, folder, { recursive: true });
  const bundle = await bundleAt('http://127.0.0.1:1/score');
  await expect(openHttpScorer(bundle, {})).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringContaining('http://127.0.0.1:1/info'),
  });
});

test('the documented schema is the one in use', async () => {
  const schema = { request: z.toJSONSchema(requestSchema), response: z.toJSONSchema(responseSchema) };
  expect(JSON.parse(await readFile(join(reference, 'schema.json'), 'utf8'))).toEqual(schema);
});
