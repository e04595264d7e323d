import type { ErrorReason } from './errors.js';
import type { Tensor } from './tensor.js';

/** What a run is rewarded for. */
export type Task = 'geneval' | 'ocr' | 'pickscore';

/** Relation between two boxes in a GenEval clause. */
export type Relation = 'left of' | 'right of' | 'above' | 'below';

/** One `include` entry of a GenEval line (rewards.md 1.5). */
export interface IncludeClause {
  readonly class: string;
  readonly count: number;
  readonly color?: string | undefined;
  /** Relation to the include entry of that index, which comes earlier in the list. */
  readonly position?: readonly [Relation, number] | undefined;
}

/** One `exclude` entry of a GenEval line: fails when at least `count` objects of the class are there. */
export interface ExcludeClause {
  readonly class: string;
  readonly count: number;
}

/** A prompt with what its scorer needs to know. One line of a prompt file. */
export interface PromptRecord {
  readonly prompt: string;
  /** Kind of prompt, for reports: `two_object`, `counting`, ..., `ocr`, `pickscore`. */
  readonly tag: string;
  /** GenEval clauses; empty for other tasks. */
  readonly include: readonly IncludeClause[];
  readonly exclude: readonly ExcludeClause[];
  /** OCR target: the text between the first two straight double quotes; null for other tasks. */
  readonly targetText: string | null;
}

/** A character span of core content. Offsets count Unicode code points. */
export interface CoreSpan {
  readonly start: number;
  readonly end: number;
  /** Index into `CoreContent.concepts`. */
  readonly conceptIndex: number;
}

/** Core content of a prompt: concepts with weights, and the spans that name them (method.md 5). */
export interface CoreContent {
  /** Name and weight (> 0) of every concept; empty: no core content, the allocation map is uniform. */
  readonly concepts: readonly { readonly name: string; readonly weight: number }[];
  readonly spans: readonly CoreSpan[];
}

/** One rollout to make. */
export interface RolloutSpec {
  /** `<iteration>-<promptIndex>-<rolloutIndex>`, or with prefix `eval` for evaluation; unique in a run. */
  readonly rolloutId: string;
  readonly rolloutIndex: number;
  /** Root of its noise, 0 <= seed < 2^63. */
  readonly seed: bigint;
}

/** A prompt with its rollouts: the unit in which advantages are formed. */
export interface RolloutGroup {
  readonly promptIndex: number;
  readonly prompt: PromptRecord;
  /** SHA-256 of the prompt, hexadecimal. */
  readonly promptHash: string;
  readonly rollouts: readonly RolloutSpec[];
  readonly coreContent: CoreContent;
  /** Steps whose attention is read, for all concepts; empty: no capture. */
  readonly captureSteps: readonly number[];
}

/** All rollouts of one iteration (or of one evaluation). */
export interface RolloutPlan {
  readonly iteration: number;
  readonly sigmas: readonly number[];
  readonly windowStart: number;
  readonly windowSize: number;
  /** False for evaluation: pictures only. */
  readonly keepTrajectory: boolean;
  readonly groups: readonly RolloutGroup[];
}

/** Captured attention of one rollout: mean over heads and blocks, mean 1 over h, w for every step and concept. */
export interface AttentionMaps {
  /** float32 [S, J, h, w], >= 0. */
  readonly values: Tensor;
  /** Step of every entry of axis 0. */
  readonly stepIndexes: readonly number[];
  /** Concepts that no token could be found for. */
  readonly unmappedConcepts: readonly number[];
}

/** A finished rollout. */
export interface Rollout {
  readonly rolloutId: string;
  /** PNG file. */
  readonly image: Uint8Array;
  /** Null where nothing was captured. */
  readonly attention: AttentionMaps | null;
}

/** Why there is no score. */
export interface ScoreFailure {
  readonly reason: ErrorReason;
  readonly message: string;
}

/** Where a score came from (architecture 5.6). */
export interface ScoreLineage {
  /** Name and version of the scorer. */
  readonly scorer: string;
  /** SHA-256 over manifest and graphs. */
  readonly bundleHash: string;
  /** SHA-256 by path of every file that the score depends on: graphs, weights beside them, dictionaries. */
  readonly graphHashes: Readonly<Record<string, string>>;
  /** Thresholds of the manifest by name; empty for a scorer that has none. */
  readonly thresholds: Readonly<Record<string, number>>;
  /** SHA-256 over the settings of the manifest that say how pictures are prepared and outputs decoded; empty: not recorded. */
  readonly preprocessing: string;
  /** Runtime, for example `onnxruntime-node 1.30.0`. */
  readonly runtime: string;
}

/** One object that a detector found. Box in pixels: left, top, right, bottom; right and bottom are exclusive. */
export interface Detection {
  readonly className: string;
  /** 0..1. */
  readonly score: number;
  readonly box: readonly [number, number, number, number];
  /** Colour by the colour classifier; null where it was not asked or could not tell. */
  readonly color: string | null;
}

/**
 * Which pixels belong to something, row by row: lengths of alternating runs, the first one outside. Of the whole picture, at
 * the resolution of the detector's masks.
 */
export interface RunLengthMask {
  readonly width: number;
  readonly height: number;
  /** Whole numbers with the sum width * height; only the first one may be 0. */
  readonly runs: readonly number[];
}

/** A detection that counted, with its mask; null for detectors that find boxes only. */
export interface SeenObject extends Detection {
  readonly mask: RunLengthMask | null;
}

/** A GenEval clause that does not hold. */
export interface ClauseFailure {
  /** Rules by which it fails: those of the official script, or the strict ones of Flow-GRPO. */
  readonly ruleSet: 'official' | 'strict';
  readonly list: 'include' | 'exclude';
  /** Place in that list of the prompt. */
  readonly index: number;
  readonly message: string;
}

/** What GenEval's verdict rests on. */
export interface DetectionEvidence {
  readonly kind: 'detections';
  /** Objects that count: above the threshold, by class, best first. */
  readonly detections: readonly SeenObject[];
  /** Messages of the strict failures, else of the official ones; empty when the picture is right. */
  readonly reason: string;
  /** Official failures, then strict ones. */
  readonly failures: readonly ClauseFailure[];
  /** Fixed length; layout at `CLAUSE_VECTOR_LENGTH` in geneval-rules.ts. */
  readonly clauseVector: readonly (number | null)[];
  /** How colours were told: `clip` as GenEval does, or `lab`. */
  readonly colorBackend: string;
}

/** One line of text in a picture. */
export interface TextLine {
  readonly text: string;
  /** Mean probability of its characters, 0..1. */
  readonly confidence: number;
  /** Corners in pixels: start and end of the upper edge, end and start of the lower one, for text that runs to the right. */
  readonly polygon: readonly [TextPoint, TextPoint, TextPoint, TextPoint];
}

/** Pixels, x to the right, y down. */
export type TextPoint = readonly [x: number, y: number];

/** One step of the alignment of an OCR target with what was read. Indices count code points; null: no counterpart. */
export interface CharacterMatch {
  /** `insert`: was read and is not in the target; `delete`: is in the target and was not read. */
  readonly operation: 'match' | 'substitute' | 'insert' | 'delete';
  readonly targetIndex: number | null;
  readonly recognizedIndex: number | null;
}

/** What a scorer saw; stored beside the score. */
export type Evidence =
  | DetectionEvidence
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly lines: readonly TextLine[];
      readonly alignment: readonly CharacterMatch[];
    }
  | { readonly kind: 'none' };

/**
 * Outcome of one scorer for one rollout: value, `abstained` (it does not apply to the prompt) or `failed`. `values` holds
 * every number the scorer reports; for GenEval `score` (Flow-GRPO's training score), `clamped` (every term in 0..1), `strict`
 * and `correct`; for OCR `score` (the reward) and `strict` (1 when the reward is 1).
 */
export type Score =
  | {
      readonly kind: 'value';
      readonly values: Readonly<Record<string, number>>;
      readonly evidence: Evidence;
      readonly lineage: ScoreLineage;
    }
  | { readonly kind: 'abstained'; readonly message: string; readonly lineage: ScoreLineage }
  | { readonly kind: 'failed'; readonly failure: ScoreFailure };

/**
 * Reward of one rollout. Missing and abstained never count as 0. `components` holds what every component adds to the sum
 * before its weight, after transform and gate; one that has no value or abstained is absent.
 */
export type Reward =
  | { readonly kind: 'value'; readonly reward: number; readonly components: Readonly<Record<string, number>> }
  | { readonly kind: 'abstained' }
  | { readonly kind: 'missing'; readonly failure: ScoreFailure };

/** How the advantage of one rollout is spread: what goes to the worker. */
export interface LossMask {
  readonly rolloutId: string;
  /** Clipped group-relative advantage; null: no reward, left out of the loss. */
  readonly advantage: number | null;
  /** float32 [S, h, w], >= 0, mean 1 over h, w; null: 1 everywhere. */
  readonly allocationMaps: Tensor | null;
  readonly stepIndexes: readonly number[];
}

/** What the worker knows after loading a model. */
export interface PreparedModel {
  readonly policyVersion: number;
  readonly trainableParameterCount: number;
  readonly parameterCount: number;
  readonly tokenRows: number;
  readonly tokenColumns: number;
  readonly valuesPerToken: number;
  readonly environment: Readonly<Record<string, string>>;
}

/** Result of an update. */
export interface UpdateOutcome {
  /** Version of the policy now: one more than before. */
  readonly policyVersion: number;
  /** Finite numbers; names in docs/metrics.md. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Seconds per phase; not reproducible, kept apart. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly checkpointWritten: boolean;
  readonly checkpointPath: string;
}

/** Result of an export. */
export interface ExportOutcome {
  readonly path: string;
  readonly format: string;
}
