import type { ServerEvent } from './event-parser.js';

/** What is known of a run's progress; times in milliseconds of a monotonic clock. */
export interface RunProgress {
  readonly iterations: number;
  readonly completedIterations: number;
  /** Evaluations that are still to come, the one at hand included. */
  readonly remainingEvaluations: number;
  readonly phase: string;
  /** Share of the phase, 0..1; null: not told. */
  readonly fraction: number | null;
  readonly phaseStartedMs: number;
  readonly rewardMean: number | null;
  readonly accuracy: number | null;
  /** Finished iterations and evaluations that this view has timed. */
  readonly iterationMs: readonly number[];
  readonly evaluationMs: readonly number[];
  /** Start of the iteration at hand without its evaluations; null: none is timed. */
  readonly iterationStartedMs: number | null;
}

const EVALUATING = 'evaluating';

/** Progress of a run before the first event. */
export function initialProgress(run: { iterations: number; completedIterations: number; every: number }): RunProgress {
  return {
    iterations: run.iterations,
    completedIterations: run.completedIterations,
    remainingEvaluations: remainingEvaluations(run),
    phase: 'starting',
    fraction: null,
    phaseStartedMs: 0,
    rewardMean: null,
    accuracy: null,
    iterationMs: [],
    evaluationMs: [],
    iterationStartedMs: null,
  };
}

/** Before the run, after every n-th iteration in between, and after the run. */
function remainingEvaluations(run: { iterations: number; completedIterations: number; every: number }): number {
  const between = (from: number): number =>
    run.every === 0 ? 0 : Math.max(0, Math.floor((run.iterations - 1) / run.every) - Math.floor(from / run.every));
  return (run.completedIterations === 0 ? 1 : 0) + between(run.completedIterations) + 1;
}

/** Phases that are named by events of their own. */
const PHASE_OF_EVENT: Readonly<Record<string, string>> = {
  'run.waiting_for_worker': 'waiting for the worker',
  'run.preparing': 'loading the model',
  'run.worker_lost': 'worker lost, going back to the last checkpoint',
  'evaluation.started': EVALUATING,
  'evaluation.completed': 'evaluated',
};

/**
 * Takes in an event of the live feed. `run.progress` tells phase and share; `metrics` ends an iteration.
 *
 * @param nowMs when the event was received
 */
export function takeEvent(progress: RunProgress, event: ServerEvent, nowMs: number): RunProgress {
  if (event.name === 'metrics') return finishIteration(progress, event.fields, nowMs);
  if (event.name === 'run.progress') return showShare(progress, event.fields, nowMs);
  const phase = PHASE_OF_EVENT[event.name];
  if (phase === undefined) return progress;
  const entered = { ...progress, phase, fraction: null, phaseStartedMs: nowMs, iterationStartedMs: null };
  if (event.name !== 'evaluation.completed') return entered;
  return {
    ...entered,
    evaluationMs: [...progress.evaluationMs, nowMs - progress.phaseStartedMs],
    remainingEvaluations: Math.max(0, progress.remainingEvaluations - 1),
  };
}

function showShare(progress: RunProgress, fields: ServerEvent['fields'], nowMs: number): RunProgress {
  const fraction = typeof fields.fraction === 'number' ? fields.fraction : null;
  const phase = progress.phase === EVALUATING ? EVALUATING : String(fields.phase ?? progress.phase);
  if (phase === progress.phase) return { ...progress, fraction };
  const iterationStartedMs = progress.iterationStartedMs ?? nowMs;
  return { ...progress, phase, fraction, phaseStartedMs: nowMs, iterationStartedMs };
}

function finishIteration(progress: RunProgress, fields: ServerEvent['fields'], nowMs: number): RunProgress {
  const values = (fields.values ?? {}) as Readonly<Record<string, unknown>>;
  const reward = values.reward_mean;
  const started = progress.iterationStartedMs;
  return {
    ...progress,
    completedIterations: typeof fields.iteration === 'number' ? fields.iteration + 1 : progress.completedIterations,
    rewardMean: typeof reward === 'number' ? reward : progress.rewardMean,
    iterationMs: started === null ? progress.iterationMs : [...progress.iterationMs, nowMs - started],
    iterationStartedMs: null,
    phase: 'iteration done',
    fraction: null,
    phaseStartedMs: nowMs,
  };
}

/** Iterations that the mean duration is taken over. */
const RECENT = 10;

/**
 * Time left in milliseconds: iterations and evaluations to come at their mean duration so far. Null before the first
 * iteration (or, when only evaluations are left, the first evaluation) is timed.
 */
export function timeLeftMs(progress: RunProgress, nowMs: number): number | null {
  const iterations = progress.iterations - progress.completedIterations;
  const iteration = mean(progress.iterationMs.slice(-RECENT));
  if (iterations > 0 && iteration === null) return null;
  const evaluation = mean(progress.evaluationMs) ?? 0;
  const spent =
    progress.phase === EVALUATING
      ? Math.min(evaluation, nowMs - progress.phaseStartedMs)
      : Math.min(iteration ?? 0, nowMs - (progress.iterationStartedMs ?? nowMs));
  return Math.max(0, iterations * (iteration ?? 0) + progress.remainingEvaluations * evaluation - spent);
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** `95 s`, `12 min`, `3 h 20 min`. */
export function durationText(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** One line about a run. */
export function progressLine(progress: RunProgress, nowMs: number): string {
  const share = progress.fraction === null ? '' : ` ${Math.round(100 * progress.fraction)}%`;
  const left = timeLeftMs(progress, nowMs);
  const parts = [
    `iteration ${Math.min(progress.completedIterations + 1, progress.iterations)}/${progress.iterations}`,
    `${progress.phase}${share}`,
    ...(progress.rewardMean === null ? [] : [`reward ${progress.rewardMean.toFixed(3)}`]),
    ...(progress.accuracy === null ? [] : [`accuracy ${(100 * progress.accuracy).toFixed(1)}%`]),
    left === null ? 'time left: measuring' : `${durationText(left)} left`,
  ];
  return parts.join(' | ');
}
