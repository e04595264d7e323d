import { sampleSigmas } from '../core/schedule.js';
import type { ArtifactStore, EvaluationRecord, StoredRollout, StoredRun } from '../pipeline/ports.js';
import { heatPicture } from './heat-picture.js';
import { firstAndLast, strictValue } from './report-data.js';
import type { AllocationStory, PicturePair } from './report-types.js';
import { type MapsFile, pngUri, readMaps, readPicture } from './run-files.js';

/** Before/after pairs in a report. */
const PAIR_COUNT = 18;
/** Rollouts with maps in a report, each of another prompt where there are enough. */
const STORY_COUNT = 6;

/** Takes from the kinds in turn, each in its own order, until `limit`: shows every kind without choosing by result. */
export function takeInTurn<T>(items: readonly T[], kindOf: (item: T) => string, limit: number): T[] {
  const kinds = [...Map.groupBy(items, kindOf).values()];
  const longest = Math.max(0, ...kinds.map((kind) => kind.length));
  const turns = Array.from({ length: longest }, (_, turn) => kinds.flatMap((kind) => kind.slice(turn, turn + 1)));
  return turns.flat().slice(0, limit);
}

/** Pictures of the first and the last evaluation at the same prompt and noise. */
export async function readPairs(
  artifacts: ArtifactStore,
  run: StoredRun,
  evaluations: readonly EvaluationRecord[],
): Promise<PicturePair[]> {
  const { before, after } = firstAndLast(evaluations);
  if (before === null || after === null) return [];
  const kept = before.items.flatMap((item, position) => {
    const other = after.items[position];
    return other === undefined || item.imagePath === null || other.imagePath === null
      ? []
      : [{ item, other, paths: [item.imagePath, other.imagePath] as const }];
  });
  const chosen = takeInTurn(kept, ({ item }) => item.tag, PAIR_COUNT);
  const pairs = await Promise.all(
    chosen.map(async ({ item, other, paths }) => ({
      prompt: item.prompt,
      tag: item.tag,
      before: await readPicture(artifacts, run.runId, paths[0]),
      after: await readPicture(artifacts, run.runId, paths[1]),
      strictBefore: strictValue(item.scores, run.recipe),
      strictAfter: strictValue(other.scores, run.recipe),
    })),
  );
  return pairs.flatMap((pair) =>
    pair.before === null || pair.after === null ? [] : [{ ...pair, before: pair.before, after: pair.after }],
  );
}

/** Allocation maps of some rollouts, ready for drawing. */
export async function readStories(
  artifacts: ArtifactStore,
  run: StoredRun,
  rollouts: readonly StoredRollout[],
): Promise<AllocationStory[]> {
  const kept = rollouts.filter((rollout) => rollout.imagePath !== null && rollout.mapsPath !== null);
  const chosen = takeInTurn(kept, (rollout) => rollout.prompt, STORY_COUNT);
  const found = await Promise.all(chosen.map((rollout) => readStory(artifacts, run, rollout)));
  return found.filter((entry) => entry !== null);
}

async function readStory(
  artifacts: ArtifactStore,
  run: StoredRun,
  rollout: StoredRollout,
): Promise<AllocationStory | null> {
  if (rollout.imagePath === null || rollout.mapsPath === null) return null;
  const picture = await readPicture(artifacts, run.runId, rollout.imagePath);
  const file = await readMaps(artifacts, run.runId, rollout.mapsPath);
  if (picture === null || file === null) return null;
  const cap = Math.max(run.recipe.allocation?.cap ?? 1, 2);
  return {
    rolloutId: rollout.rolloutId,
    prompt: file.prompt,
    reward: rollout.reward,
    advantage: rollout.advantage,
    spans: file.spans,
    concepts: file.concepts,
    picture,
    steps: drawSteps(file, run, cap),
  };
}

function drawSteps(file: MapsFile, { recipe }: StoredRun, cap: number): AllocationStory['steps'] {
  const { schedule, numInferenceSteps, shift } = recipe.sampling;
  const sigmas = sampleSigmas(schedule, numInferenceSteps, shift);
  const [, rows, columns] = file.shape;
  const area = rows * columns;
  return file.stepIndexes.map((stepIndex, index) => ({
    stepIndex,
    sigma: sigmas[stepIndex] ?? null,
    overlay: pngUri(heatPicture(file.values.slice(index * area, (index + 1) * area), rows, columns, cap)),
  }));
}
