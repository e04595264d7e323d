import type { Recipe } from '../config/recipe.js';
import type { ExportOutcome, ScoreLineage } from '../core/types.js';
import type { EvaluationRecord, MetricPoint, StoredRollout, StoredRun } from '../pipeline/ports.js';

/** Everything a report is built from; no pictures. */
export interface ReportInput {
  readonly run: StoredRun;
  readonly evaluations: readonly EvaluationRecord[];
  readonly metrics: readonly MetricPoint[];
  readonly timings: readonly MetricPoint[];
  /** Scored rollouts of the last committed iterations; lineage comes from them too. */
  readonly rollouts: readonly StoredRollout[];
  /** Null: nothing was exported yet. */
  readonly export: ExportOutcome | null;
  /** Folder or hub id for the lines of code. */
  readonly modelPath: string;
  /** Versions and devices, for example `torch` and `node`. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Mean with its 95% interval. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Before and after on the same prompts and noise seeds. Null where there is no score or no second evaluation. */
export interface Comparison {
  /** Pairs with a score on both sides. */
  readonly count: number;
  /** Pairs left out because a score is missing on a side. */
  readonly missing: number;
  /** Mean strict accuracy, 0..1, over the pairs. */
  readonly accuracyBefore: number | null;
  readonly accuracyAfter: number | null;
  /** Mean reward over the pairs. */
  readonly rewardBefore: number | null;
  readonly rewardAfter: number | null;
  /** Difference of strict accuracy, after minus before. Null with fewer than two pairs. */
  readonly pairedDifference: Interval | null;
}

/** One evaluation in the order of policy versions. */
export interface EvaluationPoint {
  readonly policyVersion: number;
  readonly accuracy: number | null;
  readonly reward: number | null;
  readonly count: number;
  readonly missing: number;
}

/** Content of `report.json`; documented in docs/report.md. */
export interface ReportData {
  readonly schemaVersion: 1;
  readonly run: {
    readonly runId: string;
    readonly name: string;
    readonly description: string;
    readonly task: string;
    readonly state: string;
    readonly failure: string | null;
    readonly seed: number;
    readonly createdAt: string;
    readonly updatedAt: string;
    readonly iterations: number;
    readonly completedIterations: number;
  };
  readonly evaluation: Comparison & {
    readonly seed: number;
    readonly strictValue: string;
    readonly policyVersionBefore: number | null;
    readonly policyVersionAfter: number | null;
    readonly byTag: readonly (Comparison & { readonly tag: string })[];
    readonly history: readonly EvaluationPoint[];
  };
  /** Metric series by name: [iteration, value]. */
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** The part of `curves` that measures how far sampling and training policy differ before the first optimiser step. */
  readonly onPolicy: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Seconds by phase. */
  readonly phases: readonly { readonly name: string; readonly totalSeconds: number; readonly meanSeconds: number }[];
  /** Null: not exported. */
  readonly export: { readonly path: string; readonly format: string; readonly code: string } | null;
  readonly scorers: readonly ScoreLineage[];
  readonly environment: Readonly<Record<string, string>>;
  readonly recipe: Recipe;
}

/** A picture of the report, as data URI. */
export interface PicturePair {
  readonly prompt: string;
  readonly tag: string;
  readonly before: string;
  readonly after: string;
  /** Strict value: 1 right, 0 wrong, null missing. */
  readonly strictBefore: number | null;
  readonly strictAfter: number | null;
}

/** Allocation maps of a rollout for drawing. */
export interface AllocationStory {
  readonly rolloutId: string;
  readonly prompt: string;
  readonly reward: number | null;
  readonly advantage: number | null;
  /** Character spans (code points) of the prompt that are core content. */
  readonly spans: readonly { readonly start: number; readonly end: number }[];
  readonly concepts: readonly { readonly name: string; readonly weight: number }[];
  /** Data URI. */
  readonly picture: string;
  /** Per captured step a transparent overlay as data URI. */
  readonly steps: readonly { readonly stepIndex: number; readonly sigma: number | null; readonly overlay: string }[];
}

/** Pictures of a report; they are in `report.html` only. */
export interface ReportPictures {
  readonly pairs: readonly PicturePair[];
  readonly stories: readonly AllocationStory[];
}
