import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { type ComparedGroup, compareRewards, judgedGroups, type RewardComparison } from '../core/reward-comparison.js';
import { groupRewards } from '../core/rewards.js';
import { rolloutPlan } from '../core/rollout-plan.js';
import type { PromptRecord, Reward } from '../core/types.js';
import type {
  ArtifactStore,
  RewardScorer,
  RewardScorerFactory,
  RunStore,
  ScoreRequest,
  StoredRollout,
} from './ports.js';
import { advantageSettings } from './reward-stage.js';

/** What re-scoring works with. */
export interface RescoreInput {
  readonly runId: string;
  /** The other reward. */
  readonly reward: Recipe['reward'];
  /** First and last iteration; null: all. */
  readonly iterations: readonly [first: number, last: number] | null;
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
  readonly createScorer: RewardScorerFactory;
  readonly loadPrompts: (recipe: Recipe) => Promise<{ readonly train: readonly PromptRecord[] }>;
  readonly signal: AbortSignal;
}

/** How one stored group would have been judged. */
export interface RescoredGroup {
  readonly iteration: number;
  readonly promptIndex: number;
  readonly prompt: string;
  readonly tag: string;
  readonly comparison: RewardComparison;
}

/** What another reward would have changed. `before` is what the run was trained on. */
export interface RescoreReport {
  readonly runId: string;
  /** Iterations whose pictures are kept. */
  readonly iterations: readonly number[];
  /** Iterations of the range that kept none. */
  readonly iterationsWithoutPictures: number;
  readonly overall: RewardComparison;
  readonly byTag: readonly { readonly tag: string; readonly comparison: RewardComparison }[];
  readonly groups: readonly RescoredGroup[];
}

/** Rollouts of one prompt in one iteration, as stored, in their order. */
interface StoredGroup {
  readonly prompt: PromptRecord;
  readonly rollouts: readonly StoredRollout[];
}

type Compared = Omit<RescoredGroup, 'comparison'> & ComparedGroup;

/**
 * Scores the stored pictures of a run under another reward. Changes nothing.
 *
 * @throws StarError NOT_FOUND for an unknown run or when no picture of the range is kept; STATE_CONFLICT when the prompt file
 *   has changed since; as the scorers do
 */
export async function rescore(input: RescoreInput): Promise<RescoreReport> {
  const { recipe } = input.store.getRun(input.runId);
  const { kept, others } = keptIterations(input);
  const { train } = await input.loadPrompts(recipe);
  const groups = kept.map((iteration) => storedGroups(input, rolloutPlan(recipe, train, iteration).groups, iteration));
  const scorer = await input.createScorer({ ...recipe, reward: input.reward }, input.signal);
  try {
    const compared: Compared[] = [];
    for (const ofIteration of groups) compared.push(...(await compareIteration(input, recipe, scorer, ofIteration)));
    return report(input.runId, { kept, others, compared });
  } finally {
    await scorer.close();
  }
}

function keptIterations({ runId, store, iterations }: RescoreInput): { kept: number[]; others: number } {
  const { completedIterations } = store.getRun(runId);
  const all = Array.from({ length: completedIterations }, (_, iteration) => iteration);
  const withPictures = all.filter((each) => store.rollouts(runId, each).some(({ imagePath }) => imagePath !== null));
  const [first, last] = iterations ?? [0, completedIterations - 1];
  const inRange = (iteration: number): boolean => iteration >= first && iteration <= last;
  const kept = withPictures.filter(inRange);
  if (kept.length > 0) return { kept, others: all.filter(inRange).length - kept.length };
  const range = iterations === null ? '' : ` of iterations ${first}..${last}`;
  throw new StarError(
    'NOT_FOUND',
    `run ${runId} kept no pictures${range}; it has those of: ${withPictures.join(', ') || 'none, no iteration is complete'}`,
    { runId },
  );
}

/** Joins stored rollouts to the clauses of their prompts, which the plan of the iteration has. */
function storedGroups(
  { runId, store }: RescoreInput,
  plan: readonly { readonly promptIndex: number; readonly prompt: PromptRecord }[],
  iteration: number,
): StoredGroup[] {
  const rows = store.rollouts(runId, iteration).filter(({ imagePath }) => imagePath !== null);
  return plan.map(({ promptIndex, prompt }) => {
    const rollouts = rows.filter((row) => row.promptIndex === promptIndex);
    const other = rollouts.find((row) => row.prompt !== prompt.prompt);
    if (other === undefined) return { prompt, rollouts };
    throw new StarError(
      'STATE_CONFLICT',
      `rollout ${other.rolloutId} was made for ${JSON.stringify(other.prompt)}, the prompt file now gives ` +
        `${JSON.stringify(prompt.prompt)}; restore the file that the run was started with`,
      { runId },
    );
  });
}

async function compareIteration(
  input: RescoreInput,
  recipe: Recipe,
  scorer: RewardScorer,
  groups: readonly StoredGroup[],
): Promise<Compared[]> {
  const rewards = await Promise.all(groups.map((group) => rewardsOf(input, scorer, group)));
  const after = judgedGroups(rewards, advantageSettings({ ...recipe, reward: input.reward }));
  return groups.flatMap(({ prompt, rollouts }, index) => {
    const [first] = rollouts;
    const judged = after[index];
    if (first === undefined || judged === undefined) return [];
    const before = {
      rewards: rollouts.map(({ reward }) => reward),
      advantages: rollouts.map(({ advantage }) => advantage),
    };
    const { iteration, promptIndex, tag } = first;
    return [{ iteration, promptIndex, prompt: prompt.prompt, tag, before, after: judged }];
  });
}

async function rewardsOf(
  { runId, artifacts, reward, signal }: RescoreInput,
  scorer: RewardScorer,
  { prompt, rollouts }: StoredGroup,
): Promise<Reward[]> {
  const requests: ScoreRequest[] = await Promise.all(
    rollouts.map(async ({ rolloutId, imagePath }) => ({
      rolloutId,
      prompt,
      image: await artifacts.get(runId, imagePath ?? ''),
    })),
  );
  return groupRewards(await scorer.score(requests, signal), reward.components);
}

function report(
  runId: string,
  found: { readonly kept: readonly number[]; readonly others: number; readonly compared: readonly Compared[] },
): RescoreReport {
  const { kept, others, compared } = found;
  const tags = [...new Set(compared.map(({ tag }) => tag))].sort();
  return {
    runId,
    iterations: kept,
    iterationsWithoutPictures: others,
    overall: compareRewards(compared),
    byTag: tags.map((tag) => ({ tag, comparison: compareRewards(compared.filter((group) => group.tag === tag)) })),
    groups: compared.map((group) => {
      const { iteration, promptIndex, prompt, tag } = group;
      return { iteration, promptIndex, prompt, tag, comparison: compareRewards([group]) };
    }),
  };
}
