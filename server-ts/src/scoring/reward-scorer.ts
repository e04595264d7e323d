import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { PromptRecord, Score } from '../core/types.js';
import type { RewardScorer, ScoreRequest } from '../pipeline/ports.js';
import { lineageOf } from './bundle/bundle-lineage.js';
import type { BundleStore } from './bundle/bundle-store.js';
import type { ScorerManifest } from './bundle/manifest.js';
import { loadScorerBundle, type ScorerBundle } from './bundle/scorer-bundle.js';
import type { ScorerHub } from './pool/scorer-hub.js';
import { ScorerPool } from './pool/scorer-pool.js';
import type { ScorerEventSink, ScorerPoolOptions } from './pool/scorer-pool-options.js';
import { abilityOf, SCORER_KINDS } from './scorer-kinds.js';

/** What the recipe does not say. */
export interface RewardScorerOptions {
  /** Where bundles are found by folder, name or hash. */
  readonly bundles: BundleStore;
  readonly onEvent: ScorerEventSink;
  /** Where scorer processes of other hosts dial in; absent: only processes of this machine work. */
  readonly hub?: ScorerHub | null;
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
      pools.push({ pool: await ScorerPool.start({ ...poolOptions, hub: options.hub ?? null }, signal), components });
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
  const planned = new Map<
    string,
    { bundle: ScorerBundle; folder: string; users: [RewardComponent, ...RewardComponent[]] }
  >();
  for (const component of recipe.reward.components) {
    const folder = await options.bundles.locate(bundleOf(component));
    const key = `${component.scorer} ${folder}`;
    const known = planned.get(key);
    const bundle = known?.bundle ?? (await loadBundleFor(component, folder));
    for (const value of wantedValues(component, recipe)) requireValue(component, value, bundle.manifest);
    if (known === undefined) planned.set(key, { bundle, folder, users: [component] });
    else known.users.push(component);
  }
  return [...planned.values()].map(({ bundle, folder, users }) => ({
    options: poolOptions(recipe, bundle, folder, users, options.onEvent),
    components: users.map(({ name }) => name),
  }));
}

function bundleOf({ name, scorer, bundle }: RewardComponent): string {
  const reference = bundle ?? SCORER_KINDS[scorer].shippedBundle;
  if (reference !== null) return reference;
  throw new StarError(
    'RECIPE_INVALID',
    `reward.components: ${name} has no bundle; scorer ${scorer} comes without one, set bundle to a folder with manifest.yaml`,
  );
}

async function loadBundleFor({ scorer }: RewardComponent, folder: string): Promise<ScorerBundle> {
  const { bundleKind } = SCORER_KINDS[scorer];
  const bundle = await loadScorerBundle(folder);
  if (bundle.manifest.kind === bundleKind) return bundle;
  throw new StarError(
    'SCORER_NOT_LOADABLE',
    `bundle ${folder} is of kind ${bundle.manifest.kind}; this scorer runs bundles of kind ${bundleKind}`,
  );
}

/** Values that the reward reads from a component: the one that it rewards, and those that gates look at. */
function wantedValues({ name, value }: RewardComponent, { reward }: Recipe): string[] {
  return [value, ...reward.components.flatMap(({ gate }) => (gate?.component === name ? (gate.value ?? []) : []))];
}

function requireValue({ name, scorer }: RewardComponent, value: string, manifest: ScorerManifest): void {
  const { values } = abilityOf(scorer, manifest);
  if (values.includes(value)) return;
  throw new StarError(
    'RECIPE_INVALID',
    `reward.components: ${name} asks for value "${value}"; scorer ${scorer} reports ${values.join(', ')}`,
  );
}

function poolOptions(
  { reward }: Recipe,
  bundle: ScorerBundle,
  bundleFolder: string,
  users: readonly [RewardComponent, ...RewardComponent[]],
  onEvent: ScorerEventSink,
): ScorerPoolOptions {
  return {
    lineage: lineageOf(bundle),
    bundleFolder,
    processCount: Math.max(...users.map(({ processCount }) => processCount ?? reward.processCount)),
    batchSize: abilityOf(users[0].scorer, bundle.manifest).batchSize,
    timeoutMs: reward.timeoutMs,
    maxAttempts: reward.maxAttempts,
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
