import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { PromptRecord, Score } from '../core/types.js';
import type { RewardScorer, ScoreRequest } from '../pipeline/ports.js';
import { loadScorerBundle } from './bundle/scorer-bundle.js';
import { ScorerPool } from './pool/scorer-pool.js';
import type { ScorerEventSink, ScorerPoolOptions } from './pool/scorer-pool-options.js';
import { SCORER_KINDS, type ScorerKind } from './scorer-kinds.js';

/** What the recipe does not say. */
export interface RewardScorerOptions {
  /** Folder that relative bundle paths start from. */
  readonly repoRoot: string;
  readonly onEvent: ScorerEventSink;
}

type RewardComponent = Recipe['reward']['components'][number];

/** Settings of one pool and the components that read from it. */
interface PlannedPool {
  readonly options: ScorerPoolOptions;
  readonly components: string[];
}

/**
 * Builds the scorers of a recipe: one pool per distinct scorer and bundle, shared by the components that name it. All
 * bundles are read and checked before any process is started.
 *
 * @throws StarError SCORER_NOT_LOADABLE for a bundle that is missing, changed or of the wrong kind; RECIPE_INVALID for a
 *   value that the scorer does not report; CANCELLED on abort
 */
export async function createRewardScorer(
  recipe: Recipe,
  signal: AbortSignal,
  options: RewardScorerOptions,
): Promise<RewardScorer> {
  const planned = await planPools(recipe, options);
  const pools: { pool: ScorerPool; components: readonly string[] }[] = [];
  try {
    for (const { options: poolOptions, components } of planned) {
      pools.push({ pool: await ScorerPool.start(poolOptions, signal), components });
    }
  } catch (error) {
    await Promise.all(pools.map(({ pool }) => pool.close()));
    throw error;
  }
  return {
    score: async (requests, scoreSignal, scoreOptions) => {
      const byPool = await Promise.all(pools.map(({ pool }) => pool.score(requests, scoreSignal, scoreOptions)));
      return requests.map((_, index) => componentScores(pools, byPool, index));
    },
    close: async () => {
      await Promise.all(pools.map(({ pool }) => pool.close()));
    },
  };
}

/**
 * Scores PNG files under one prompt.
 *
 * @returns per file, in order, the scores by component name
 * @throws StarError NOT_FOUND for a file that cannot be read
 */
export async function scoreFiles(
  scorer: RewardScorer,
  prompt: PromptRecord,
  files: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyArray<Readonly<Record<string, Score>>>> {
  const requests = await Promise.all(files.map((file) => readRequest(prompt, file)));
  return scorer.score(requests, signal);
}

async function readRequest(prompt: PromptRecord, file: string): Promise<ScoreRequest> {
  try {
    return { rolloutId: basename(file), prompt, image: await readFile(file) };
  } catch (error) {
    throw new StarError('NOT_FOUND', `picture ${file} cannot be read`, {}, error);
  }
}

async function planPools(recipe: Recipe, options: RewardScorerOptions): Promise<PlannedPool[]> {
  const planned = new Map<string, PlannedPool>();
  for (const component of recipe.reward.components) {
    const kind = kindOf(component);
    const folder = resolve(options.repoRoot, component.bundle ?? kind.shippedBundle);
    const key = `${component.scorer} ${folder}`;
    const pool = planned.get(key) ?? { options: await planPool(recipe, kind, folder, options), components: [] };
    pool.components.push(component.name);
    planned.set(key, pool);
  }
  return [...planned.values()];
}

function kindOf(component: RewardComponent): ScorerKind {
  const kind = SCORER_KINDS[component.scorer];
  if (kind.values.includes(component.value)) return kind;
  throw new StarError(
    'RECIPE_INVALID',
    `reward.components: ${component.name} asks for value "${component.value}"; scorer ${component.scorer} reports ` +
      kind.values.join(', '),
  );
}

async function planPool(
  recipe: Recipe,
  kind: ScorerKind,
  folder: string,
  { onEvent }: RewardScorerOptions,
): Promise<ScorerPoolOptions> {
  const { manifest, bundleHash } = await loadScorerBundle(folder);
  if (manifest.kind !== kind.bundleKind) {
    throw new StarError(
      'SCORER_NOT_LOADABLE',
      `bundle ${folder} is of kind ${manifest.kind}; this scorer runs bundles of kind ${kind.bundleKind}`,
    );
  }
  const { processCount, timeoutMs, maxAttempts } = recipe.reward;
  return {
    scorer: `${manifest.name} ${manifest.version}`,
    bundleFolder: folder,
    bundleHash,
    processCount,
    batchSize: kind.batchSize,
    timeoutMs,
    maxAttempts,
    onEvent,
  };
}

function componentScores(
  pools: readonly { components: readonly string[] }[],
  byPool: readonly Score[][],
  index: number,
): Record<string, Score> {
  const scores: Record<string, Score> = {};
  pools.forEach(({ components }, poolIndex) => {
    const score = byPool[poolIndex]?.[index];
    if (score !== undefined) for (const name of components) scores[name] = score;
  });
  return scores;
}
