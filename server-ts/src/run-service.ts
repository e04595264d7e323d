import { readRecipe, readReward } from './config/read-recipe.js';
import type { Recipe } from './config/recipe.js';
import { StarError } from './core/errors.js';
import type { RunStore } from './pipeline/ports.js';
import type { RunController } from './pipeline/run-controller.js';
import type { RunService } from './rest/ports.js';

/** What the requests of HTTP clients come down to. */
export interface RunServiceParts {
  readonly store: RunStore;
  readonly controller: RunController;
  /** @throws StarError PROMPT_INVALID */
  readonly loadPrompts: (recipe: Recipe) => Promise<unknown>;
  /** Called when there is work to do. */
  readonly needWorker: () => void;
}

/** Joins the HTTP edge to the run controller: texts are read and checked here. */
export function createRunService({ store, controller, loadPrompts, needWorker }: RunServiceParts): RunService {
  return {
    create: async (recipeText) => {
      const recipe = readRecipe(recipeText);
      await loadPrompts(recipe);
      const run = store.createRun({ runId: freeRunId(store, recipe), recipe, recipeText });
      needWorker();
      controller.submit(run.runId);
      return store.getRun(run.runId);
    },
    stop: async (runId) => controller.stop(runId),
    resume: async (runId) => {
      needWorker();
      return controller.resume(runId);
    },
    stageReward: async (runId, rewardText, author) => {
      const reward = readReward(rewardText, store.getRun(runId).recipe);
      return controller.changeReward(runId, { kind: 'staged', reward, author });
    },
    rollBackReward: async (runId, author) => controller.changeReward(runId, { kind: 'rolledBack', author }),
  };
}

/** Name of the recipe with the next free number, from 1. */
function freeRunId(store: RunStore, recipe: Recipe): string {
  for (let count = 1; ; count += 1) {
    const runId = `${recipe.name}-${count}`;
    try {
      store.getRun(runId);
    } catch (error) {
      if (StarError.from(error).reason === 'NOT_FOUND') return runId;
      throw error;
    }
  }
}
