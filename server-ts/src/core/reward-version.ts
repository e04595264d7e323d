import { StarError } from './errors.js';
import type { RewardComparison } from './reward-comparison.js';

/**
 * Life of a version of a run's reward. Version 1 is the recipe's and ACTIVE from the start.
 *
 * STAGED: accepted, not loaded. CHECKED: its scorers are loaded and answer. SHADOWED: it has scored pictures of the run beside
 * the reward in effect. ACTIVE: in effect from `effectiveIteration` on, until a later version is. RETIRED: another version
 * followed. ROLLED_BACK: it was undone. REFUSED: it could not be loaded or scored nothing. WITHDRAWN: replaced or undone before
 * it took effect.
 */
export const REWARD_VERSION_STATES = [
  'STAGED',
  'CHECKED',
  'SHADOWED',
  'ACTIVE',
  'RETIRED',
  'ROLLED_BACK',
  'REFUSED',
  'WITHDRAWN',
] as const;
export type RewardVersionState = (typeof REWARD_VERSION_STATES)[number];

const MOVES: Readonly<Record<RewardVersionState, readonly RewardVersionState[]>> = {
  STAGED: ['CHECKED', 'REFUSED', 'WITHDRAWN', 'STAGED'],
  // Back to STAGED: a new process has nothing loaded. ACTIVE without shadow: a rollback.
  CHECKED: ['SHADOWED', 'ACTIVE', 'REFUSED', 'WITHDRAWN', 'STAGED'],
  SHADOWED: ['ACTIVE', 'WITHDRAWN', 'STAGED'],
  ACTIVE: ['RETIRED', 'ROLLED_BACK'],
  RETIRED: [],
  ROLLED_BACK: [],
  REFUSED: [],
  WITHDRAWN: [],
};

/** One version. `R` is the reward itself; nothing here looks into it. */
export interface RewardVersion<R> {
  /** From 1, in the order of staging. */
  readonly version: number;
  readonly reward: R;
  readonly state: RewardVersionState;
  /** First iteration that it could reward when it was staged: earlier ones had begun. */
  readonly earliestIteration: number;
  /** First iteration that it rewards; null: none so far. */
  readonly effectiveIteration: number | null;
  /** Version that it undoes; null: not a rollback. */
  readonly rollbackOf: number | null;
  readonly author: string;
  /** ISO 8601. */
  readonly stagedAt: string;
  /** Why it was refused. */
  readonly failure: string | null;
  /** Beside the reward that was in effect (`before`); null: not shadow-scored. */
  readonly shadow: RewardComparison | null;
}

/** All versions of a run by version: which one rewarded which iteration, and what was tried. */
export type RewardLineage<R> = readonly RewardVersion<R>[];

/** What happens to the reward of a run. */
export type RewardEvent<R> =
  | { readonly kind: 'staged'; readonly reward: R; readonly earliestIteration: number; readonly author: string }
  | { readonly kind: 'rolledBack'; readonly earliestIteration: number; readonly author: string }
  | { readonly kind: 'restarted' }
  | { readonly kind: 'checked'; readonly version: number }
  | { readonly kind: 'refused'; readonly version: number; readonly failure: string }
  | { readonly kind: 'shadowed'; readonly version: number; readonly shadow: RewardComparison }
  | { readonly kind: 'activated'; readonly version: number; readonly iteration: number };

/** Lineage of a new run. */
export function firstLineage<R>(reward: R, at: string): RewardVersion<R>[] {
  const first = newVersion({ version: 1, reward, earliestIteration: 0, author: 'recipe', stagedAt: at });
  return [{ ...first, state: 'ACTIVE', effectiveIteration: 0 }];
}

/**
 * The one transition function of rewards.
 *
 * @param at time of day, ISO 8601
 * @returns the new lineage; versions that did not change are the same objects
 * @throws StarError STATE_CONFLICT for a move that is not allowed, NOT_FOUND for an unknown version
 */
export function advanceLineage<R>(lineage: RewardLineage<R>, event: RewardEvent<R>, at: string): RewardVersion<R>[] {
  switch (event.kind) {
    case 'staged':
      return [...withdrawn(lineage), newVersion({ ...event, version: lineage.length + 1, stagedAt: at })];
    case 'rolledBack':
      return pendingVersion(lineage) === null ? [...lineage, undo(lineage, event, at)] : withdrawn(lineage);
    case 'restarted':
      return lineage.map((each) => (isPending(each) ? moved(each, 'STAGED') : each));
    case 'activated':
      return activated(lineage, event.version, event.iteration);
    default:
      return changed(lineage, event);
  }
}

/** The version that waits to take effect; null: none. */
export function pendingVersion<R>(lineage: RewardLineage<R>): RewardVersion<R> | null {
  return lineage.find(isPending) ?? null;
}

/** The version that rewards an iteration, also one that is computed again. @throws StarError NOT_FOUND without a version */
export function versionAt<R>(lineage: RewardLineage<R>, iteration: number): RewardVersion<R> {
  const found = lineage.findLast(
    ({ effectiveIteration }) => effectiveIteration !== null && effectiveIteration <= iteration,
  );
  if (found !== undefined) return found;
  throw new StarError('NOT_FOUND', `no version of the reward is in effect at iteration ${iteration}`);
}

/** The version that took effect last. @throws StarError NOT_FOUND without a version */
export function latestVersion<R>(lineage: RewardLineage<R>): RewardVersion<R> {
  return versionAt(lineage, Number.POSITIVE_INFINITY);
}

/**
 * Whether the pending version may take effect at the start of an iteration: it is ready, and no iteration that had another
 * version, or had begun when it was staged, would change its version when it is computed again.
 */
export function mayTakeEffect<R>(lineage: RewardLineage<R>, iteration: number): boolean {
  const pending = pendingVersion(lineage);
  if (pending === null || iteration < pending.earliestIteration) return false;
  const ready = pending.state === 'SHADOWED' || (pending.state === 'CHECKED' && pending.rollbackOf !== null);
  return ready && iteration > (latestVersion(lineage).effectiveIteration ?? 0);
}

function newVersion<R>(
  fields: Pick<RewardVersion<R>, 'version' | 'reward' | 'earliestIteration' | 'author' | 'stagedAt'>,
  rollbackOf: number | null = null,
): RewardVersion<R> {
  const { version, reward, earliestIteration, author, stagedAt } = fields;
  const start = { state: 'STAGED', effectiveIteration: null, failure: null, shadow: null } as const;
  return { version, reward, earliestIteration, author, stagedAt, rollbackOf, ...start };
}

function isPending<R>({ state }: RewardVersion<R>): boolean {
  return state === 'STAGED' || state === 'CHECKED' || state === 'SHADOWED';
}

function withdrawn<R>(lineage: RewardLineage<R>): RewardVersion<R>[] {
  return lineage.map((each) => (isPending(each) ? moved(each, 'WITHDRAWN') : each));
}

/** A version with the reward that was in effect before the latest one. */
function undo<R>(
  lineage: RewardLineage<R>,
  event: { readonly earliestIteration: number; readonly author: string },
  at: string,
): RewardVersion<R> {
  const latest = latestVersion(lineage);
  const before = lineage.findLast(
    ({ version, effectiveIteration }) => effectiveIteration !== null && version < latest.version,
  );
  if (before === undefined) {
    throw new StarError(
      'STATE_CONFLICT',
      `version ${latest.version} is the first one in effect: nothing to go back to`,
    );
  }
  const fields = { ...event, version: lineage.length + 1, reward: before.reward, stagedAt: at };
  return newVersion(fields, latest.version);
}

function changed<R>(
  lineage: RewardLineage<R>,
  event: Extract<RewardEvent<R>, { kind: 'checked' | 'refused' | 'shadowed' }>,
): RewardVersion<R>[] {
  const found = versionOf(lineage, event.version);
  return lineage.map((each) => (each === found ? applied(each, event) : each));
}

function applied<R>(
  version: RewardVersion<R>,
  event: Extract<RewardEvent<R>, { kind: 'checked' | 'refused' | 'shadowed' }>,
): RewardVersion<R> {
  if (event.kind === 'checked') return moved(version, 'CHECKED');
  if (event.kind === 'refused') return { ...moved(version, 'REFUSED'), failure: event.failure };
  return { ...moved(version, 'SHADOWED'), shadow: event.shadow };
}

function activated<R>(lineage: RewardLineage<R>, version: number, iteration: number): RewardVersion<R>[] {
  const next = versionOf(lineage, version);
  const latest = latestVersion(lineage);
  if (next !== pendingVersion(lineage) || !mayTakeEffect(lineage, iteration)) {
    const message = `version ${version} (${next.state}) of the reward cannot take effect at iteration ${iteration}`;
    throw new StarError('STATE_CONFLICT', `${message}; version ${latest.version} stays`);
  }
  const end = next.rollbackOf === latest.version ? 'ROLLED_BACK' : 'RETIRED';
  return lineage.map((each) => {
    if (each === next) return { ...moved(each, 'ACTIVE'), effectiveIteration: iteration };
    return each === latest ? moved(each, end) : each;
  });
}

function versionOf<R>(lineage: RewardLineage<R>, version: number): RewardVersion<R> {
  const found = lineage.find((each) => each.version === version);
  if (found !== undefined) return found;
  throw new StarError('NOT_FOUND', `there is no version ${version} of the reward`);
}

function moved<R>(version: RewardVersion<R>, to: RewardVersionState): RewardVersion<R> {
  const { state } = version;
  if (MOVES[state].includes(to)) return { ...version, state: to };
  const allowed = MOVES[state].join(', ') || 'none';
  const message = `version ${version.version} of the reward cannot go from ${state} to ${to}; allowed: ${allowed}`;
  throw new StarError('STATE_CONFLICT', message);
}
