import type { Recipe } from '../config/recipe.js';
import { evaluationPlan } from '../core/rollout-plan.js';
import type { PromptRecord, RolloutGroup, RolloutPlan, Score } from '../core/types.js';
import type { ArtifactStore, EvaluationRecord, RewardScorer, TaskContext, Trainer } from './ports.js';
import { evaluationImagePath } from './rollout-artifacts.js';

/** Pictures per call of the scorers; they go on while the next ones are sampled. */
const SCORE_BATCH = 32;
/** The first ones of every evaluation are kept, the same ones each time, so that before and after can be compared. */
const KEPT_PICTURES = 48;

/** What an evaluation works with. */
export interface EvaluationInput {
  readonly context: TaskContext;
  readonly recipe: Recipe;
  /** Held-out prompts. */
  readonly prompts: readonly PromptRecord[];
  readonly trainer: Trainer;
  readonly scorer: RewardScorer;
  readonly artifacts: ArtifactStore;
}

type Scores = Readonly<Record<string, Score>>;

/** Samples the fixed evaluation prompts and seeds with the policy at hand and scores every picture. */
export async function runEvaluation(input: EvaluationInput): Promise<EvaluationRecord> {
  const { context, recipe, trainer } = input;
  const plan = evaluationPlan(recipe, input.prompts, context.iteration);
  const batches: Promise<readonly Scores[]>[] = [];
  const paths: (string | null)[] = [];
  let pictures: Uint8Array[] = [];
  const scorePictures = (): void => {
    const batch = scoreBatch(input, plan, batches.length * SCORE_BATCH, pictures);
    batch.catch(() => undefined);
    batches.push(batch);
    pictures = [];
  };
  try {
    await trainer.rollout(context, plan, async ({ image }) => {
      paths.push(await keepPicture(input, paths.length, image));
      pictures.push(image);
      if (pictures.length === SCORE_BATCH) scorePictures();
    });
    if (pictures.length > 0) scorePictures();
    const scores = (await Promise.all(batches)).flat();
    return evaluationRecord(context, plan, scores, paths);
  } finally {
    await Promise.allSettled(batches);
  }
}

async function scoreBatch(
  { scorer, context }: EvaluationInput,
  plan: RolloutPlan,
  start: number,
  pictures: readonly Uint8Array[],
): Promise<readonly Scores[]> {
  const requests = pictures.map((image, offset) => {
    const group = plan.groups[start + offset] as RolloutGroup;
    return { rolloutId: rolloutIdOf(group), prompt: group.prompt, image };
  });
  return scorer.score(requests, context.signal);
}

async function keepPicture(
  { artifacts, context }: EvaluationInput,
  position: number,
  image: Uint8Array,
): Promise<string | null> {
  if (position >= KEPT_PICTURES) return null;
  const path = evaluationImagePath(context.policyVersion, position);
  await artifacts.put(context.runId, path, image);
  return path;
}

function evaluationRecord(
  context: TaskContext,
  plan: RolloutPlan,
  scores: readonly Scores[],
  paths: readonly (string | null)[],
): EvaluationRecord {
  const items = plan.groups.map((group, position) => ({
    prompt: group.prompt.prompt,
    tag: group.prompt.tag,
    seed: group.rollouts[0]?.seed ?? 0n,
    scores: scores[position] ?? {},
    imagePath: paths[position] ?? null,
  }));
  return { runId: context.runId, policyVersion: context.policyVersion, items };
}

/** An evaluation has one rollout per prompt. */
function rolloutIdOf(group: RolloutGroup): string {
  return group.rollouts[0]?.rolloutId ?? '';
}
