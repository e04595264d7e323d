import { type Recipe, recipeSchema } from '../src/config/recipe.js';

/** A complete small recipe for tests; `changes` replace top-level fields. */
export function tinyRecipe(changes: Record<string, unknown> = {}): Recipe {
  return recipeSchema.parse({
    name: 'tiny',
    task: 'geneval',
    seed: 7,
    iterations: 3,
    model: { path: 'models/tiny-world', height: 64, width: 64, maxSequenceLength: 48 },
    prompts: { train: 'train.jsonl', evaluation: 'evaluation.jsonl', groupsPerIteration: 2, groupSize: 2 },
    sampling: { numInferenceSteps: 4, schedule: 'linear', windowSize: 2 },
    evaluation: { numInferenceSteps: 4, promptCount: 2 },
    reward: { components: [{ name: 'geneval', scorer: 'geneval' }] },
    allocation: { blocks: [1] },
    objective: { kind: 'policy_gradient', clipRange: 0.1 },
    optimizer: { learningRate: 1e-4 },
    worker: { microBatchSize: 2 },
    checkpoint: { every: 2 },
    ...changes,
  });
}
