import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { combineReward } from '../core/rewards.js';
import type { Score, ScoreLineage } from '../core/types.js';
import type { EvaluationRecord, MetricPoint } from '../pipeline/ports.js';
import { comparePairs, type EvaluationPair, meanOf } from './compare-pairs.js';
import { exportCode } from './export-code.js';
import type { EvaluationPoint, ReportData, ReportInput } from './report-types.js';

type Item = EvaluationRecord['items'][number];

/** Metric that measures the ratio before the first optimiser step: the largest |ratio - 1|. */
const ON_POLICY = 'ratio_max_error';

/**
 * Builds the numbers of a report. Pure.
 *
 * @throws StarError STATE_CONFLICT when two evaluations of the run differ in prompts or seeds
 */
export function buildReportData(input: ReportInput): ReportData {
  const { run, metrics } = input;
  const { recipe } = run;
  const curves = seriesByName(metrics);
  return {
    schemaVersion: 1,
    run: {
      runId: run.runId,
      name: recipe.name,
      description: recipe.description,
      task: recipe.task,
      state: run.state,
      failure: run.failure,
      seed: recipe.seed,
      createdAt: run.createdAt,
      updatedAt: run.updatedAt,
      iterations: recipe.iterations,
      completedIterations: run.completedIterations,
    },
    evaluation: evaluationPart(input),
    curves,
    onPolicy: Object.fromEntries(Object.entries(curves).filter(([name]) => name === ON_POLICY)),
    phases: phaseTotals(input.timings),
    export: exportPart(input),
    scorers: lineages(input),
    environment: input.environment,
    recipe,
  };
}

/** Strict value of the first component (1 right, 0 wrong); null: no score. */
export function strictValue(scores: Readonly<Record<string, Score>>, recipe: Recipe): number | null {
  const component = recipe.reward.components[0];
  const score = component === undefined ? undefined : scores[component.name];
  return score?.kind === 'value' ? (score.values[recipe.reward.strictValue] ?? null) : null;
}

function rewardValue(scores: Readonly<Record<string, Score>>, recipe: Recipe): number | null {
  const reward = combineReward(scores, recipe.reward.components);
  return reward.kind === 'value' ? reward.reward : null;
}

/** First and last evaluation of a run by policy version; `after` is null with fewer than two. */
export function firstAndLast(evaluations: readonly EvaluationRecord[]): {
  before: EvaluationRecord | null;
  after: EvaluationRecord | null;
} {
  const sorted = [...evaluations].sort((a, b) => a.policyVersion - b.policyVersion);
  return { before: sorted[0] ?? null, after: sorted.length > 1 ? (sorted.at(-1) ?? null) : null };
}

function evaluationPart({ run, evaluations }: ReportInput): ReportData['evaluation'] {
  const { recipe } = run;
  const { before, after } = firstAndLast(evaluations);
  const pairs = before === null || after === null ? [] : pairUp(before, after, recipe);
  const tags = [...new Set(pairs.map((pair) => pair.tag))].sort();
  return {
    ...comparePairs(pairs),
    seed: recipe.evaluation.seed,
    strictValue: recipe.reward.strictValue,
    policyVersionBefore: before?.policyVersion ?? null,
    policyVersionAfter: after?.policyVersion ?? null,
    byTag: tags.map((tag) => ({ tag, ...comparePairs(pairs.filter((pair) => pair.tag === tag)) })),
    history: [...evaluations]
      .sort((a, b) => a.policyVersion - b.policyVersion)
      .map((evaluation) => evaluationPoint(evaluation, recipe)),
  };
}

function pairUp(before: EvaluationRecord, after: EvaluationRecord, recipe: Recipe): EvaluationPair[] {
  if (before.items.length !== after.items.length) {
    throw differs(before, after, `${before.items.length} and ${after.items.length} pictures`);
  }
  return before.items.map((item, position) => {
    const other = after.items[position];
    if (other === undefined || other.prompt !== item.prompt || other.seed !== item.seed) {
      throw differs(before, after, `another prompt or seed at position ${position}`);
    }
    return { prompt: item.prompt, tag: item.tag, before: side(item, recipe), after: side(other, recipe) };
  });
}

function side(item: Item, recipe: Recipe): EvaluationPair['before'] {
  return { strict: strictValue(item.scores, recipe), reward: rewardValue(item.scores, recipe) };
}

function differs(before: EvaluationRecord, after: EvaluationRecord, how: string): StarError {
  return new StarError(
    'STATE_CONFLICT',
    `evaluations at policy versions ${before.policyVersion} and ${after.policyVersion} cannot be paired: ${how}`,
    { runId: before.runId },
  );
}

function evaluationPoint(evaluation: EvaluationRecord, recipe: Recipe): EvaluationPoint {
  const sides = evaluation.items.map((item) => side(item, recipe));
  const strict = sides.flatMap((entry) => entry.strict ?? []);
  return {
    policyVersion: evaluation.policyVersion,
    accuracy: meanOf(strict),
    reward: meanOf(sides.flatMap((entry) => entry.reward ?? [])),
    count: strict.length,
    missing: sides.length - strict.length,
  };
}

function seriesByName(points: readonly MetricPoint[]): Record<string, (readonly [number, number])[]> {
  const series: Record<string, (readonly [number, number])[]> = {};
  for (const { name, iteration, value } of points) {
    series[name] ??= [];
    series[name].push([iteration, value]);
  }
  return series;
}

function phaseTotals(timings: readonly MetricPoint[]): ReportData['phases'] {
  return Object.entries(seriesByName(timings)).map(([name, points]) => {
    const totalSeconds = points.reduce((sum, [, seconds]) => sum + seconds, 0);
    return { name, totalSeconds, meanSeconds: totalSeconds / points.length };
  });
}

function exportPart(input: ReportInput): ReportData['export'] {
  const outcome = input.export;
  if (outcome === null) return null;
  const prompt = firstAndLast(input.evaluations).before?.items[0]?.prompt ?? 'a photo of a red circle';
  const code = exportCode(outcome, input.run.recipe, { modelPath: input.modelPath, prompt });
  return { path: outcome.path, format: outcome.format, code };
}

/** Every scorer that a score of the run came from, once. */
function lineages({ evaluations, rollouts }: ReportInput): ScoreLineage[] {
  const found = new Map<string, ScoreLineage>();
  for (const { scores } of [...evaluations.flatMap((evaluation) => evaluation.items), ...rollouts]) {
    for (const score of Object.values(scores)) {
      if (score.kind === 'value') found.set(JSON.stringify(score.lineage), score.lineage);
    }
  }
  return [...found.values()];
}
