import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readReward } from './config/read-recipe.js';
import { recipeSchema } from './config/recipe.js';
import type { PromptRecord, Score } from './core/types.js';
import { loadPrompts } from './local/prompt-files.js';
import type { RewardScorer } from './pipeline/ports.js';
import { type RescoreReport, rescore } from './pipeline/rescore.js';
import { bundleReference, bundleStore } from './scorer-bundles.js';
import { evaluateGenevalFolder, type GenevalEvaluation } from './scoring/geneval-folder.js';
import { ensureCurveKeys } from './scoring/pool/curve-keys.js';
import { runScorerHost, type ScorerHostOptions } from './scoring/pool/scorer-host.js';
import { createRewardScorer, scoreFiles } from './scoring/reward-scorer.js';
import { ArtifactFiles } from './storage/artifact-files.js';
import { openDatabase } from './storage/database.js';
import { SqliteRunStore } from './storage/sqlite-run-store.js';

/** Repository root: relative paths of recipes start here. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Scores the stored pictures of a run under another reward, with scorer processes of its own. A control plane may work on the
 * data folder at the same time.
 *
 * @param options.name of the reward text, for messages
 * @throws StarError RECIPE_INVALID, NOT_FOUND, STATE_CONFLICT, SCORER_NOT_LOADABLE, CANCELLED
 */
export async function rescoreRun(options: {
  readonly dataDir: string;
  readonly runId: string;
  readonly rewardText: string;
  readonly name: string;
  readonly iterations: readonly [number, number] | null;
  readonly signal: AbortSignal;
}): Promise<RescoreReport> {
  const dataDir = resolve(options.dataDir);
  const database = openDatabase(join(dataDir, 'star.db'));
  try {
    const store = new SqliteRunStore(database, () => new Date().toISOString());
    const { recipe } = store.getRun(options.runId);
    return await rescore({
      ...options,
      reward: readReward(options.rewardText, recipe, options.name),
      store,
      artifacts: new ArtifactFiles(join(dataDir, 'runs')),
      loadPrompts: () => loadPrompts(recipe, ROOT),
      createScorer: (made, signal) =>
        createRewardScorer(made, signal, { bundles: bundleStore(dataDir), onEvent: () => undefined }),
    });
  } finally {
    database.close();
  }
}

/**
 * Scores PNG files under one prompt with a scorer process of its own.
 *
 * @throws StarError SCORER_NOT_LOADABLE, NOT_FOUND for a missing picture, CANCELLED
 */
export async function scorePictures(options: {
  readonly scorer: 'geneval' | 'ocr' | 'image_text';
  readonly bundle: string | null;
  readonly prompt: PromptRecord;
  readonly images: readonly string[];
  readonly dataDir: string;
  readonly signal: AbortSignal;
}): Promise<Score[]> {
  const { scorer, bundle, prompt, images, dataDir, signal } = options;
  return withScorer({ scorer, bundle, dataDir, signal }, async (rewardScorer) => {
    const scores = await scoreFiles(rewardScorer, prompt, images, signal);
    return scores.map((entry) => scoreOf(entry, scorer));
  });
}

/**
 * Evaluates a folder in GenEval's layout with scorer processes of its own.
 *
 * @throws StarError SCORER_NOT_LOADABLE, NOT_FOUND for a folder without pictures, PROMPT_INVALID, CANCELLED
 */
export async function evaluateGeneval(options: {
  readonly folder: string;
  readonly bundle: string | null;
  readonly dataDir: string;
  readonly jpeg: boolean;
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}): Promise<GenevalEvaluation> {
  const { folder, bundle, dataDir, jpeg, onProgress, signal } = options;
  return withScorer({ scorer: 'geneval', bundle, dataDir, signal }, (rewardScorer) =>
    evaluateGenevalFolder(folder, {
      jpeg,
      onProgress,
      score: async (requests) => (await rewardScorer.score(requests, signal)).map((entry) => scoreOf(entry, 'geneval')),
    }),
  );
}

/** Lends the processes of one scorer. */
async function withScorer<T>(
  options: {
    readonly scorer: string;
    readonly bundle: string | null;
    readonly dataDir: string;
    readonly signal: AbortSignal;
  },
  use: (rewardScorer: RewardScorer) => Promise<T>,
): Promise<T> {
  const { scorer, signal } = options;
  const bundle = options.bundle === null ? null : bundleReference(options.bundle);
  const recipe = recipeSchema.parse({
    ...SCORING_RECIPE,
    reward: { components: [{ name: scorer, scorer, bundle }] },
  });
  const bundles = bundleStore(options.dataDir);
  const rewardScorer = await createRewardScorer(recipe, signal, { bundles, onEvent: () => undefined });
  try {
    return await use(rewardScorer);
  } finally {
    await rewardScorer.close();
  }
}

function scoreOf(entry: Readonly<Record<string, Score>>, scorer: string): Score {
  return entry[scorer] ?? { kind: 'failed', failure: { reason: 'INTERNAL', message: 'the scorer gave no answer' } };
}

/** Scorers are built from a recipe; only its `reward` counts here. */
const SCORING_RECIPE = {
  name: 'score',
  task: 'pickscore',
  iterations: 1,
  model: { path: 'none', height: 64, width: 64, maxSequenceLength: 8 },
  prompts: { train: 'none', evaluation: 'none', groupsPerIteration: 1, groupSize: 2 },
  sampling: { numInferenceSteps: 1, windowSize: 0 },
  evaluation: { numInferenceSteps: 1, promptCount: 1 },
  objective: { kind: 'forward_process' },
  optimizer: { learningRate: 1e-3 },
  worker: { microBatchSize: 1 },
} as const;

/**
 * Runs scorer processes on this machine for a control plane on another one, until the signal aborts.
 *
 * @returns public key of this host, as soon as it is known, and the end of the work
 * @throws StarError ARGUMENT_INVALID for a key file that others can read; SCORER_NOT_LOADABLE as `runScorerHost`
 */
export async function serveScorers(
  options: ScorerHostOptions,
  signal: AbortSignal,
): Promise<{ readonly publicKey: string; readonly ended: Promise<void> }> {
  const { publicKey } = await ensureCurveKeys(options.keyFile);
  return { publicKey, ended: runScorerHost(options, signal) };
}

/**
 * Public key of a key file, which is written when it is not there.
 *
 * @throws StarError ARGUMENT_INVALID for a file that is none or that others can read
 */
export async function scorerPublicKey(keyFile: string): Promise<string> {
  return (await ensureCurveKeys(keyFile)).publicKey;
}
