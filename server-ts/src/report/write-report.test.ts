import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recipeSchema } from '../config/recipe.js';
import type { Score } from '../core/types.js';
import type { EvaluationRecord } from '../pipeline/ports.js';
import { ArtifactFiles } from '../storage/artifact-files.js';
import { openDatabase } from '../storage/database.js';
import { SqliteRunStore } from '../storage/sqlite-run-store.js';
import { encodePng } from './heat-picture.js';
import { buildReport, type ReportSources, writeReport } from './write-report.js';

const RUN = 'run-1';
const PROMPT = 'a <b>red</b> circle';
const recipe = recipeSchema.parse({
  name: 'tiny',
  description: 'learns "circles" & more',
  task: 'geneval',
  iterations: 2,
  model: { path: 'models/tiny-world', height: 64, width: 64, maxSequenceLength: 16 },
  prompts: { train: 'a.jsonl', evaluation: 'b.jsonl', groupsPerIteration: 1, groupSize: 2 },
  sampling: { numInferenceSteps: 4, windowSize: 2 },
  evaluation: { numInferenceSteps: 4, promptCount: 4 },
  reward: { components: [{ name: 'geneval', scorer: 'geneval' }] },
  allocation: { blocks: [1] },
  objective: { kind: 'policy_gradient', clipRange: 0.1 },
  optimizer: { learningRate: 0.001 },
  worker: { microBatchSize: 2 },
});

let folder: string;
let store: SqliteRunStore;
let sources: ReportSources;

function score(strict: number | null): Score {
  if (strict === null) return { kind: 'failed', failure: { reason: 'SCORER_TIMEOUT', message: 'slow' } };
  return {
    kind: 'value',
    values: { strict, score: (1 + strict) / 2 },
    evidence: { kind: 'none' },
    lineage: {
      scorer: 'geneval 1',
      bundleHash: 'ab'.repeat(32),
      graphHashes: {},
      thresholds: {},
      preprocessing: 'p',
      runtime: 'onnxruntime-node 1.30.0',
    },
  };
}

function evaluation(policyVersion: number, strict: readonly (number | null)[]): EvaluationRecord {
  const items = strict.map((value, position) => ({
    prompt: position < 2 ? PROMPT : `two circles ${position}`,
    tag: position < 2 ? 'colors' : 'counting',
    seed: BigInt(position),
    scores: { geneval: score(value) },
    imagePath: `evaluations/${policyVersion}/${position}.png`,
  }));
  return { runId: RUN, policyVersion, items };
}

async function fill(): Promise<void> {
  const png = encodePng(new Uint8Array(16).fill(255), 2, 2);
  store.createRun({ runId: RUN, recipe, recipeText: '' });
  for (const version of [0, 2]) {
    for (let k = 0; k < 6; k += 1) await sources.artifacts.put(RUN, `evaluations/${version}/${k}.png`, png);
  }
  store.commitEvaluation(evaluation(0, [0, 0, 1, 0, 1, null]));
  store.commitEvaluation(evaluation(2, [1, 1, 1, 1, 0, 1]));
  await sources.artifacts.put(RUN, 'rollouts/0-0-0.png', png);
  const maps = {
    prompt: PROMPT,
    concepts: [{ name: 'red circle', weight: 1 }],
    spans: [{ start: 2, end: 11, conceptIndex: 0 }],
    stepIndexes: [1, 2],
    shape: [2, 2, 2],
    values: [1, 1, 1, 1, 0.5, 0.5, 0.5, 2.5],
  };
  await sources.artifacts.put(RUN, 'rollouts/0-0-0.maps.json', Buffer.from(JSON.stringify(maps)));
  await sources.artifacts.put(RUN, 'model.json', Buffer.from('{"environment": {"torch": "2.13.0"}}'));
  await sources.artifacts.put(RUN, 'export.json', Buffer.from(JSON.stringify({ path: '/x/export', format: 'lora' })));
  const rollout = { rolloutId: '0-0-0', iteration: 0, promptIndex: 0, prompt: PROMPT, tag: 'colors', seed: 1n };
  const scored = { reward: 1, advantage: 0.5, rewardVersion: 1, scores: { geneval: score(1) } };
  const files = { imagePath: 'rollouts/0-0-0.png', mapsPath: 'rollouts/0-0-0.maps.json' };
  store.commitIteration({
    runId: RUN,
    iteration: 0,
    metrics: { reward_mean: 0.25, ratio_max_error: 0, reward_version: 1 },
    seconds: { sampling: 2, update: 1 },
    rollouts: [{ ...rollout, ...scored, ...files }],
    checkpointVersion: null,
  });
  store.commitIteration({
    runId: RUN,
    iteration: 1,
    metrics: { reward_mean: 0.75, ratio_max_error: 0, reward_version: 2 },
    seconds: { sampling: 4, update: 1 },
    rollouts: [],
    checkpointVersion: 2,
  });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-report-'));
  store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), () => '2026-01-01T00:00:00Z');
  sources = {
    store,
    artifacts: new ArtifactFiles(join(folder, 'runs')),
    resolveModelPath: (path) => `/models/${path}`,
    environment: { node: '24' },
  };
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('report numbers', () => {
  it('pairs before and after and leaves missing scores out', async () => {
    await fill();
    const { evaluation: result } = (await buildReport(sources, RUN)).data;
    expect(result).toMatchObject({ count: 5, missing: 1, policyVersionBefore: 0, policyVersionAfter: 2 });
    expect(result.accuracyBefore).toBeCloseTo(0.4, 12);
    expect(result.accuracyAfter).toBeCloseTo(0.8, 12);
    expect(result.rewardAfter).toBeCloseTo(0.9, 12);
    // Differences 1, 1, 0, 1, -1: mean 0.4. Residual sums of the clusters: 1.2, -0.4, 0.6, -1.4.
    const error = Math.sqrt(((1.44 + 0.16 + 0.36 + 1.96) * 4) / 3) / 5;
    expect(result.pairedDifference?.mean).toBeCloseTo(0.4, 12);
    expect(result.pairedDifference?.low).toBeCloseTo(0.4 - 1.959963984540054 * error, 12);
    expect(result.pairedDifference?.high).toBeCloseTo(0.4 + 1.959963984540054 * error, 12);
    expect(result.byTag.map((row) => [row.tag, row.count, row.missing])).toEqual([
      ['colors', 2, 0],
      ['counting', 3, 1],
    ]);
    expect(result.history.map((point) => [point.policyVersion, point.count])).toEqual([
      [0, 5],
      [2, 6],
    ]);
  });

  it('gives curves, gauge, phases, scorers and code', async () => {
    await fill();
    const { data } = await buildReport(sources, RUN);
    expect(data.curves.reward_mean).toEqual([
      [0, 0.25],
      [1, 0.75],
    ]);
    expect(Object.keys(data.onPolicy)).toEqual(['ratio_max_error']);
    expect(data.phases).toEqual([
      { name: 'sampling', totalSeconds: 6, meanSeconds: 3 },
      { name: 'update', totalSeconds: 2, meanSeconds: 1 },
    ]);
    expect(data.scorers).toHaveLength(1);
    expect(data.environment).toEqual({ node: '24', torch: '2.13.0' });
    expect(data.export?.code).toContain(
      'from_pretrained("/models/models/tiny-world")\npipe.load_lora_weights("/x/export")',
    );
  });

  it('is there before anything has happened, without made-up numbers', async () => {
    store.createRun({ runId: RUN, recipe, recipeText: '' });
    const { data, html } = await buildReport(sources, RUN);
    expect(data.evaluation).toMatchObject({ count: 0, accuracyBefore: null, pairedDifference: null });
    expect(data.export).toBeNull();
    expect(html).not.toContain('NaN');
  });

  it('refuses to pair evaluations of different pictures', async () => {
    await fill();
    store.commitEvaluation(evaluation(3, [1, 1]));
    await expect(buildReport(sources, RUN)).rejects.toThrow(/cannot be paired: 6 and 2 pictures/);
  });
});

describe('report files', () => {
  it('writes a page that refers to nothing outside and escapes every text', async () => {
    await fill();
    const path = await writeReport(sources, RUN);
    const html = readFileSync(path, 'utf8');
    expect(html).not.toMatch(/https?:|<script|<link|url\(|@import/);
    expect(html).not.toContain('<b>red</b>');
    expect(html).toContain('learns &quot;circles&quot; &amp; more');
    expect(html).toContain('+40.0 points');
    expect(html).toContain('another version of the reward took effect (version 2 from iteration 1 on)');
    expect(html).toContain('<line class="mark"');
    expect(html.match(/src="(?!data:image\/png;base64,)/)).toBeNull();
    expect(html.match(/allocation map of step/g)).toHaveLength(2);
    expect(html).toContain('a <mark>&lt;b&gt;red&lt;/b</mark>&gt; circle');
    expect(JSON.parse(readFileSync(path.replace('.html', '.json'), 'utf8')).schemaVersion).toBe(1);
  });

  it('refuses damaged maps', async () => {
    await fill();
    await sources.artifacts.put(RUN, 'rollouts/0-0-0.maps.json', Buffer.from('{"values": []}'));
    await expect(buildReport(sources, RUN)).rejects.toThrow(/0-0-0.maps.json of run run-1 is damaged/);
  });
});
