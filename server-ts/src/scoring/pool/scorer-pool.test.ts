import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { PromptRecord, Score } from '../../core/types.js';
import type { ScoreRequest } from '../../pipeline/ports.js';
import { lineageOf } from '../bundle/bundle-lineage.js';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { writeDetectorBundle } from '../fixtures/detector-bundle.js';
import { ScorerPool } from './scorer-pool.js';
import type { ScorerEventSink, ScorerPoolOptions } from './scorer-pool-options.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const signal = new AbortController().signal;
const prompt: PromptRecord = {
  prompt: 'a photo of a red circle',
  tag: 'colors',
  include: [{ class: 'circle', count: 1, color: 'red' }],
  exclude: [],
  targetText: null,
};

let folder = '';
let sockets = '';
const open: ScorerPool[] = [];
/** Processes and calls to react to; filled by each test. */
let react: ScorerEventSink = () => undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-test-'));
  sockets = join(folder, 'sockets');
  await mkdir(sockets);
  process.env.TMPDIR = sockets;
  await writeDetectorBundle(join(folder, 'good'));
  await writeDetectorBundle(join(folder, 'nan'), { score: Number.NaN });
  return () => rm(folder, { recursive: true });
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((pool) => pool.close()));
  react = () => undefined;
});

async function startPool(changes: Partial<ScorerPoolOptions> = {}, bundle = 'good'): Promise<ScorerPool> {
  const bundleFolder = join(folder, bundle);
  const lineage = lineageOf(await loadScorerBundle(bundleFolder));
  const options = { lineage, bundleFolder, processCount: 1, batchSize: 4, timeoutMs: 30_000 };
  const events = { maxAttempts: 3, backoffMs: 1, onEvent: ((name, fields) => react(name, fields)) as ScorerEventSink };
  const pool = await ScorerPool.start({ ...options, ...events, ...changes }, signal);
  open.push(pool);
  return pool;
}

/** Red pictures; their brightness, and with it the score of the hand-made detector, depends on `red`. */
async function redPicture(red: number): Promise<Uint8Array> {
  const background = { r: red, g: 10, b: 10 };
  return sharp({ create: { width: 64, height: 64, channels: 3, background } })
    .png()
    .toBuffer();
}

async function requests(count: number): Promise<ScoreRequest[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      rolloutId: `0-0-${index}`,
      prompt,
      image: await redPicture(150 + index),
    })),
  );
}

async function socketFolders(): Promise<string[]> {
  return (await readdir(sockets)).filter((name) => name.startsWith('star-scorers-'));
}

function detectionScores(scores: readonly Score[]): (number | undefined)[] {
  return scores.map((score) =>
    score.kind === 'value' && score.evidence.kind === 'detections' ? score.evidence.detections[0]?.score : undefined,
  );
}

function reasons(scores: readonly Score[]): string[] {
  return scores.map((score) => (score.kind === 'failed' ? score.failure.reason : 'value'));
}

test('scores in the order of the requests, with evidence and lineage', async () => {
  const pool = await startPool({ processCount: 2 });
  const scores = await pool.score(await requests(11), signal);
  const found = detectionScores(scores);
  expect(found).toHaveLength(11);
  found.forEach((score, index) => {
    expect(score).toBeCloseTo(1 - (150 + index + 20) / (3 * 255), 4);
  });
  const bundle = await loadScorerBundle(join(folder, 'good'));
  expect(scores[0]).toEqual({
    kind: 'value',
    values: { score: 1, clamped: 1, strict: 1, correct: 1 },
    evidence: {
      kind: 'detections',
      detections: [
        {
          className: 'circle',
          score: found[0],
          box: [0, 0, 32, 64],
          color: 'red',
          mask: { width: 64, height: 64, runs: [0, 4096] },
        },
      ],
      reason: '',
      failures: [],
      clauseVector: [1, 1, ...Array.from({ length: 11 }, () => null)],
      colorBackend: 'lab',
    },
    lineage: {
      scorer: 'hand-made-detector 1',
      bundleHash: bundle.bundleHash,
      graphHashes: { 'model.onnx': expect.stringMatching(/^[0-9a-f]{64}$/) },
      thresholds: bundle.manifest.kind === 'detector' && bundle.manifest.thresholds,
      preprocessing: expect.stringMatching(/^[0-9a-f]{64}$/),
      runtime: expect.stringMatching(/^onnxruntime-node \d/),
    },
  });
});

test('the number of processes does not change a result', async () => {
  const work = await requests(9);
  const one = await (await startPool()).score(work, signal);
  const two = await (await startPool({ processCount: 2 })).score(work, signal);
  expect(two).toEqual(one);
});

test('a picture that cannot be decoded fails alone', async () => {
  const pool = await startPool();
  const work = await requests(4);
  const bad = [work[0], { ...work[1], image: Buffer.from('no picture') }, work[2]] as ScoreRequest[];
  const jpeg = await sharp(work[0]?.image).jpeg().toBuffer();
  const truncated = (work[3]?.image ?? new Uint8Array()).slice(0, 60);
  const rest = [jpeg, truncated].map((image): ScoreRequest => ({ rolloutId: 'x', prompt, image }));
  const scores = await pool.score([...bad, ...rest], signal);
  expect(reasons(scores)).toEqual(['value', 'IMAGE_INVALID', 'value', 'IMAGE_INVALID', 'IMAGE_INVALID']);
});

test('work of a killed process is repeated and its result is the same', async () => {
  const work = await requests(8);
  const expected = await (await startPool()).score(work, signal);
  let kills = 0;
  react = (name, { pid, attempt }) => {
    // Stopped before the batch is sent, so that it is certainly unfinished when the process is killed.
    if (name === 'scorer_process_ready' && kills === 0) process.kill(Number(pid), 'SIGSTOP');
    if (name === 'scorer_batch_sent' && attempt === 1 && kills++ === 0) process.kill(Number(pid), 'SIGKILL');
  };
  const scores = await (await startPool()).score(work, signal);
  expect(kills).toBeGreaterThan(0);
  expect(scores).toEqual(expected);
});

test('a stopped process runs into the batch timeout and is replaced', async () => {
  let stopped = 0;
  const ended: string[] = [];
  react = (name, { pid, reason }) => {
    if (name === 'scorer_process_ready' && stopped === 0) stopped = Number(pid);
    if (name === 'scorer_process_ready' && stopped === pid) process.kill(stopped, 'SIGSTOP');
    if (name === 'scorer_process_ended') ended.push(String(reason));
  };
  const pool = await startPool({ timeoutMs: 1500 });
  expect(reasons(await pool.score(await requests(3), signal))).toEqual(['value', 'value', 'value']);
  expect(ended).toEqual(['SCORER_TIMEOUT']);
});

test('an idle process that stays silent is replaced', async () => {
  let pid = 0;
  react = (name, fields) => {
    if (name === 'scorer_process_ready') pid = Number(fields.pid);
  };
  await startPool({ heartbeatMs: 20 });
  const replaced = new Promise<string>((resolve) => {
    react = (name, { message }) => {
      if (name === 'scorer_process_ended') resolve(String(message));
    };
  });
  process.kill(pid, 'SIGSTOP');
  expect(await replaced).toContain('was silent');
});

test('a batch that kills every process fails without a number, and the pool goes on', async () => {
  let deadly = true;
  react = (name, { pid }) => {
    if (!deadly) return;
    if (name === 'scorer_process_ready') process.kill(Number(pid), 'SIGSTOP');
    if (name === 'scorer_batch_sent') process.kill(Number(pid), 'SIGKILL');
  };
  const pool = await startPool({ maxAttempts: 2 });
  const scores = await pool.score(await requests(2), signal);
  expect(reasons(scores)).toEqual(['SCORER_CRASHED', 'SCORER_CRASHED']);
  expect(scores[0]).not.toHaveProperty('values');
  deadly = false;
  expect(reasons(await pool.score(await requests(1), signal))).toEqual(['value']);
});

/** Kills every process that gets a batch, as long as `deadly` says so. */
function killAtWork(deadly: () => boolean): void {
  react = (name, { pid }) => {
    if (!deadly()) return;
    if (name === 'scorer_process_ready') process.kill(Number(pid), 'SIGSTOP');
    if (name === 'scorer_batch_sent') process.kill(Number(pid), 'SIGKILL');
  };
}

test('after failed batches in a row everything else fails at once, without a process being asked', async () => {
  killAtWork(() => true);
  const pool = await startPool({ maxAttempts: 1, batchSize: 1, circuit: { limit: 2, pauseMs: 600_000 } });
  const scores = await pool.score(await requests(5), signal);
  expect(reasons(scores).filter((reason) => reason === 'SCORER_CRASHED')).toHaveLength(2);
  expect(reasons(scores).filter((reason) => reason === 'SCORER_UNAVAILABLE')).toHaveLength(3);
  let sent = 0;
  react = (name) => {
    if (name === 'scorer_batch_sent') sent += 1;
  };
  expect(reasons(await pool.score(await requests(2), signal))).toEqual(['SCORER_UNAVAILABLE', 'SCORER_UNAVAILABLE']);
  expect(sent).toBe(0);
});

test('after the pause one batch probes, and the others follow when it succeeds', async () => {
  let deadly = true;
  killAtWork(() => deadly);
  const pool = await startPool({ maxAttempts: 1, batchSize: 1, circuit: { limit: 1, pauseMs: 0 } });
  expect(reasons(await pool.score(await requests(1), signal))).toEqual(['SCORER_CRASHED']);
  deadly = false;
  expect(reasons(await pool.score(await requests(4), signal))).toEqual(Array(4).fill('value'));
});

test('live work goes before shadow work that waits, and shadow work is finished', async () => {
  const pool = await startPool({ batchSize: 1 });
  const order: string[] = [];
  const shadow = pool.score(await requests(8), signal, { priority: 'shadow' }).then(() => order.push('shadow'));
  const live = pool.score(await requests(8), signal).then(() => order.push('live'));
  await Promise.all([shadow, live]);
  expect(order).toEqual(['live', 'shadow']);
});

test('a score that is not finite is a failure', async () => {
  const pool = await startPool({}, 'nan');
  expect(reasons(await pool.score(await requests(2), signal))).toEqual(['SCORE_NOT_FINITE', 'SCORE_NOT_FINITE']);
});

test('close finishes the work at hand and ends the processes', async () => {
  const pids: number[] = [];
  react = (name, { pid }) => {
    if (name === 'scorer_process_started') pids.push(Number(pid));
  };
  const pool = await startPool({ batchSize: 1 });
  const scoring = pool.score(await requests(12), signal);
  await pool.close();
  expect(reasons(await scoring)).toEqual(Array(12).fill('value'));
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  await expect(pool.score([], signal)).rejects.toMatchObject({ reason: 'STATE_CONFLICT' });
});

test('abort ends a waiting call at once', async () => {
  const pool = await startPool({ batchSize: 1 });
  const controller = new AbortController();
  react = (name) => {
    if (name === 'scorer_batch_sent') controller.abort();
  };
  await expect(pool.score(await requests(30), controller.signal)).rejects.toMatchObject({ reason: 'CANCELLED' });
  react = () => undefined;
  expect(reasons(await pool.score(await requests(1), signal))).toEqual(['value']);
});

test('start fails with the reason when the bundle of a process is not the checked one', async () => {
  const lineage = lineageOf(await loadScorerBundle(join(folder, 'good')));
  await expect(startPool({ lineage: { ...lineage, bundleHash: 'f'.repeat(64) } })).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringContaining('changed on disk'),
  });
  expect(await socketFolders()).toEqual([]);
});

test('the socket folder can be entered by this user only, and is gone after close', async () => {
  const pool = await startPool();
  const [name = ''] = await socketFolders();
  expect((await stat(join(sockets, name))).mode & 0o777).toBe(0o700);
  await pool.close();
  expect(await socketFolders()).toEqual([]);
});
