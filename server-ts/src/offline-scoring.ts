import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readReward } from './config/read-recipe.js';
import { loadPrompts } from './local/prompt-files.js';
import { type RescoreReport, rescore } from './pipeline/rescore.js';
import { createRewardScorer } from './scoring/reward-scorer.js';
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
      createScorer: (made, signal) => createRewardScorer(made, signal, { repoRoot: ROOT, onEvent: () => undefined }),
    });
  } finally {
    database.close();
  }
}
