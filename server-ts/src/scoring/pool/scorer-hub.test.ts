import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { curveKeyPair } from 'zeromq';
import type { Score } from '../../core/types.js';
import type { ScoreRequest } from '../../pipeline/ports.js';
import { lineageOf } from '../bundle/bundle-lineage.js';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { writeDetectorBundle } from '../fixtures/detector-bundle.js';
import { ensureCurveKeys, findAuthorized, readCurveKeys } from './curve-keys.js';
import { runScorerHost } from './scorer-host.js';
import { ScorerHub } from './scorer-hub.js';
import { ScorerPool } from './scorer-pool.js';
import type { ScorerEventSink } from './scorer-pool-options.js';
import { encodeZ85 } from './z85.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

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

/** Events with their fields, to wait for. */
function recorder(): { readonly sink: ScorerEventSink; next(name: string): Promise<Record<string, string | number>> } {
  const seen: { name: string; fields: Readonly<Record<string, string | number>> }[] = [];
  const waiting = new Set<() => void>();
  return {
    sink: (name, fields) => {
      seen.push({ name, fields });
      for (const check of waiting) check();
    },
    next: (name) =>
      new Promise((resolve) => {
        const check = (): void => {
          const found = seen.find((event) => event.name === name);
          if (found === undefined) return;
          waiting.delete(check);
          resolve(found.fields);
        };
        waiting.add(check);
        check();
      }),
  };
}

async function startHub(onEvent: ScorerEventSink): Promise<{ hub: ScorerHub; serverKey: string }> {
  const hub = await ScorerHub.listen({ endpoint: 'tcp://127.0.0.1:*', keyFolder: folder, onEvent });
  closers.push(() => hub.close());
  return { hub, serverKey: hub.publicKey };
}

/** A host with one process, and the promise of its end. */
function startHost(hub: ScorerHub, serverKey: string, bundle: string, onEvent: ScorerEventSink): Promise<void> {
  const stop = new AbortController();
  const at = { endpoint: hub.endpoint, serverKey, keyFile: join(folder, 'host.json') };
  const host = runScorerHost({ ...at, bundleFolder: join(folder, bundle), processCount: 1, onEvent }, stop.signal);
  host.catch(() => undefined);
  closers.push(async () => {
    stop.abort();
    await host.catch(() => undefined);
  });
  return host;
}

async function authorizeHost(): Promise<void> {
  const { publicKey } = await ensureCurveKeys(join(folder, 'host.json'));
  await writeFile(join(folder, 'authorized'), `# hosts\n${publicKey} gpu-1\n`);
}

async function startPool(hub: ScorerHub | null, onEvent: ScorerEventSink): Promise<ScorerPool> {
  const bundleFolder = join(folder, 'good');
  const lineage = lineageOf(await loadScorerBundle(bundleFolder));
  const limits = { processCount: 1, batchSize: 1, timeoutMs: 100_000, maxAttempts: 3, heartbeatMs: 100 };
  const pool = await ScorerPool.start({ lineage, bundleFolder, ...limits, hub, onEvent }, signal);
  closers.push(() => pool.close());
  return pool;
}

async function requests(count: number): Promise<ScoreRequest[]> {
  const image = await readFile(new URL('../fixtures/word-cat.png', import.meta.url));
  const include = [{ class: 'circle', count: 1 }];
  const prompt = { prompt: 'a circle', tag: 'single_object', include, exclude: [], targetText: null };
  return Array.from({ length: count }, (_, index) => ({ rolloutId: String(index), prompt, image }));
}

test('a host with a known key helps; when it dies in the middle of a batch, its work is repeated elsewhere', async () => {
  await writeDetectorBundle(join(folder, 'good'));
  await authorizeHost();
  const [pool, host] = [recorder(), recorder()];
  const { hub, serverKey } = await startHub(pool.sink);
  let stopped = 0;
  let sentToGuest = 0;
  const working = await startPool(hub, (name, { pid }) => {
    if (name !== 'scorer_batch_sent' || pid !== -1) return;
    sentToGuest += 1;
    if (stopped > 0) process.kill(stopped, 'SIGKILL');
  });
  void startHost(hub, serverKey, 'good', host.sink);
  await pool.next('scorer_guest_arrived');
  const together = await working.score(await requests(8), signal);
  expect(sentToGuest).toBeGreaterThan(0);
  expect(together.every((score) => score.kind === 'value')).toBe(true);
  // Stopped first: the next batch that it gets is certainly unfinished when it is killed.
  stopped = Number((await host.next('scorer_process_started')).pid);
  process.kill(stopped, 'SIGSTOP');
  const repeated: Score[] = await working.score(await requests(8), signal);
  expect(repeated).toEqual(together);
  await pool.next('scorer_guest_left');
});

test('a host whose key is not known is refused, told so and reported', async () => {
  await writeDetectorBundle(join(folder, 'good'));
  const { publicKey } = await ensureCurveKeys(join(folder, 'host.json'));
  const events = recorder();
  const { hub, serverKey } = await startHub(events.sink);
  await expect(startHost(hub, serverKey, 'good', () => undefined)).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringContaining(publicKey),
  });
  expect(await events.next('scorer_host_refused')).toEqual({ publicKey, address: '127.0.0.1' });
});

test('a host whose bundle differs from that of the pool is refused with both hashes', async () => {
  await writeDetectorBundle(join(folder, 'good'));
  await writeDetectorBundle(join(folder, 'other'), { score: 0.5 });
  const hashes = await Promise.all(['good', 'other'].map((name) => loadScorerBundle(join(folder, name))));
  await authorizeHost();
  const { hub, serverKey } = await startHub(() => undefined);
  await startPool(hub, () => undefined);
  const refused = startHost(hub, serverKey, 'other', () => undefined);
  for (const { bundleHash } of hashes) await expect(refused).rejects.toThrow(bundleHash);
});

test('keys are written once, for this user only, and refused when others can read them', async () => {
  const path = join(folder, 'keys/host.json');
  const keys = await ensureCurveKeys(path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await ensureCurveKeys(path)).toEqual(keys);
  await writeFile(join(folder, 'open.json'), JSON.stringify(keys), { mode: 0o644 });
  await expect(readCurveKeys(join(folder, 'open.json'))).rejects.toMatchObject({ message: /chmod 600/ });
});

test('the file of authorised keys names each; keys that begin with # are no comments', async () => {
  const file = join(folder, 'authorized');
  const key = `#${curveKeyPair().publicKey.slice(1)}`;
  await writeFile(file, `# ${key} not this one\n${key}  gpu 2\n`);
  expect(await findAuthorized(file, key)).toBe('gpu 2');
  expect(await findAuthorized(file, curveKeyPair().publicKey)).toBeNull();
  expect(await findAuthorized(join(folder, 'none'), key)).toBeNull();
});

test('Z85 as in RFC 32', () => {
  expect(encodeZ85(Uint8Array.of(0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b))).toBe('HelloWorld');
});
