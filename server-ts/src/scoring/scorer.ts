import type { Evidence, PromptRecord, ScoreFailure } from '../core/types.js';
import type { RgbImage } from './image/rgb-image.js';

/** A decoded picture with the prompt that it was made for. */
export interface ScorerInput {
  readonly prompt: PromptRecord;
  readonly image: RgbImage;
  /** The file that it was decoded from. */
  readonly png: Uint8Array;
}

/** What a scorer process says of one picture; the pool adds the lineage. */
export type ScorerOutcome =
  | { readonly kind: 'value'; readonly values: Readonly<Record<string, number>>; readonly evidence: Evidence }
  | { readonly kind: 'abstained'; readonly message: string }
  | { readonly kind: 'failed'; readonly failure: ScoreFailure };

/** A loaded scorer. Lives in one scorer process and is called with one batch at a time. */
export interface Scorer {
  /** What it runs on, for the lineage of scores, where that is not ONNX Runtime in this process. */
  readonly runtime?: string;
  /**
   * @returns one outcome per input, in order; a picture that cannot be scored is `failed`, never a number
   */
  score(inputs: readonly ScorerInput[]): Promise<ScorerOutcome[]>;
  /** Releases the graphs. */
  close(): Promise<void>;
}

/** Outcome without a number. */
export function failedOutcome(reason: ScoreFailure['reason'], message: string): ScorerOutcome {
  return { kind: 'failed', failure: { reason, message } };
}

/** The scorer has nothing to say about the prompt of the picture; `message` says what the prompt lacks. */
export function abstention(message: string): ScorerOutcome {
  return { kind: 'abstained', message };
}

/**
 * Lets only finite numbers pass.
 *
 * @returns the outcome itself, or SCORE_NOT_FINITE that names the value
 */
export function requireFinite(outcome: ScorerOutcome): ScorerOutcome {
  if (outcome.kind !== 'value') return outcome;
  const wrong = Object.entries(outcome.values).find(([, value]) => !Number.isFinite(value));
  if (wrong === undefined) return outcome;
  return failedOutcome('SCORE_NOT_FINITE', `the scorer reported ${wrong[0]} = ${wrong[1]}; expected a finite number`);
}
