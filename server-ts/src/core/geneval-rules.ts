import { relationsOf, suppressOverlaps } from './box-relations.js';
import { GENEVAL_COLORS } from './geneval-objects.js';
import type { ClauseFailure, Detection, IncludeClause, PromptRecord } from './types.js';

/** Which detections count (rewards.md 1.1). Hashed into the lineage by the scorer bundle. */
export interface GenevalThresholds {
  /** Objects score strictly above this, compared in float32. */
  readonly threshold: number;
  /** The same for prompts with the tag `counting`. */
  readonly countingThreshold: number;
  /** Objects kept per class. */
  readonly maxObjects: number;
  /** Greedy suppression by IoU within a class; 1: none. */
  readonly maxOverlap: number;
}

/** Verdict of one rule set over one picture. */
export interface GenevalVerdict {
  readonly passed: boolean;
  /** Clauses that do not hold, in order; empty when passed. */
  readonly failures: readonly ClauseFailure[];
  /** Their messages, one a line, worded as the official script words them. */
  readonly reason: string;
}

/** Terms that one include clause adds to the training score. */
export interface ClauseScore {
  readonly className: string;
  /** Raw terms in the order in which Flow-GRPO's server pushes them; may be below 0. */
  readonly terms: readonly number[];
  /** Exact count, colours and relations hold. */
  readonly matched: boolean;
  readonly aspects: ClauseAspects;
}

/** How far one include clause holds, by what it asks for: 0..1 each, null for what it does not ask for. */
export interface ClauseAspects {
  /** 1 - |wanted - found| / wanted, at least 0. */
  readonly count: number;
  /** The same for objects of the wanted colour; 0 when the count is wrong, because colours are not looked at then. */
  readonly color: number | null;
  /** 1 when every pair has the wanted relation, else 0. */
  readonly position: number | null;
}

/** Everything GenEval says of a picture. */
export interface GenevalResult {
  /** Official rules: at least the wanted objects; exclude clauses hold. */
  readonly correct: GenevalVerdict;
  /** Exact counts, colours and relations; exclude clauses are not looked at. */
  readonly strict: GenevalVerdict;
  /** Flow-GRPO's training score: mean of all terms; at most 1, below 0 when far too many objects are there. */
  readonly score: number;
  /** The same with every term clamped to [0, 1]. */
  readonly clampedScore: number;
  readonly clauses: readonly ClauseScore[];
  /** See `CLAUSE_VECTOR_LENGTH`. */
  readonly clauseVector: readonly (number | null)[];
}

const CLAUSE_SLOTS = 4;

/**
 * Length of the clause vector: count, colour and position (`ClauseAspects`) of include clauses 0 to 3, then the share of
 * exclude clauses that hold. Null where nothing is asked for. Further include clauses are in the scores only; the official
 * prompts have two at most.
 */
export const CLAUSE_VECTOR_LENGTH = CLAUSE_SLOTS * 3 + 1;

/**
 * Applies the GenEval rules to a detection list (rewards.md 1.1 to 1.6).
 *
 * @param detections in the detector's order; colours filled in for the classes that the prompt gives a colour
 */
export function judgeGeneval(
  detections: readonly Detection[],
  prompt: Pick<PromptRecord, 'tag' | 'include' | 'exclude'>,
  thresholds: GenevalThresholds,
): GenevalResult {
  const objects = selectObjects(detections, prompt.tag, thresholds);
  const correct = judgeCorrect(objects, prompt);
  const { verdict: strict, clauses } = judgeStrict(objects, prompt.include);
  const terms = clauses.flatMap((clause) => clause.terms);
  return {
    correct,
    strict,
    score: meanOrZero(terms),
    clampedScore: meanOrZero(terms.map(clamp)),
    clauses,
    clauseVector: clauseVector(clauses, excludeShare(correct, prompt.exclude.length)),
  };
}

function clauseVector(clauses: readonly ClauseScore[], excluded: number | null): (number | null)[] {
  const slots = Array.from({ length: CLAUSE_SLOTS }, (_, index) => {
    const aspects = clauses[index]?.aspects;
    return aspects === undefined ? [null, null, null] : [aspects.count, aspects.color, aspects.position];
  });
  return [...slots.flat(), excluded];
}

function excludeShare(correct: GenevalVerdict, total: number): number | null {
  return total === 0 ? null : 1 - correct.failures.filter(({ list }) => list === 'exclude').length / total;
}

/**
 * Objects that count, by class: score descending, equal scores with the later detection first, at most `maxObjects`, then
 * optionally suppressed by overlap.
 */
export function selectObjects<T extends Omit<Detection, 'color'>>(
  detections: readonly T[],
  tag: string,
  thresholds: GenevalThresholds,
): ReadonlyMap<string, readonly T[]> {
  const limit = Math.fround(tag === 'counting' ? thresholds.countingThreshold : thresholds.threshold);
  const byClass = new Map<string, T[]>();
  for (const detection of detections) {
    if (!(Math.fround(detection.score) > limit)) continue;
    const list = byClass.get(detection.className) ?? [];
    list.unshift(detection);
    byClass.set(detection.className, list);
  }
  for (const [className, list] of byClass) {
    list.sort((a, b) => Math.fround(b.score) - Math.fround(a.score));
    byClass.set(className, suppressOverlaps(list.slice(0, thresholds.maxObjects), thresholds.maxOverlap));
  }
  return byClass;
}

type Objects = ReadonlyMap<string, readonly Detection[]>;
type MatchedGroups = (readonly Detection[] | null)[];

function judgeCorrect(objects: Objects, prompt: Pick<PromptRecord, 'include' | 'exclude'>): GenevalVerdict {
  const failures: ClauseFailure[] = [];
  const groups: MatchedGroups = [];
  for (const [index, clause] of prompt.include.entries()) {
    const found = (objects.get(clause.class) ?? []).slice(0, clause.count);
    const failure =
      found.length < clause.count
        ? `expected ${clause.class}>=${clause.count}, found ${found.length}`
        : (colorFailure(clause, found) ?? positionFailure(clause, found, groups));
    if (failure !== null) failures.push({ ruleSet: 'official', list: 'include', index, message: failure });
    groups.push(failure === null ? found : null);
  }
  for (const [index, clause] of prompt.exclude.entries()) {
    const count = objects.get(clause.class)?.length ?? 0;
    if (count < clause.count) continue;
    const message = `expected ${clause.class}<${clause.count}, found ${count}`;
    failures.push({ ruleSet: 'official', list: 'exclude', index, message });
  }
  return verdictOf(failures);
}

function verdictOf(failures: readonly ClauseFailure[]): GenevalVerdict {
  return { passed: failures.length === 0, failures, reason: failures.map(({ message }) => message).join('\n') };
}

function judgeStrict(
  objects: Objects,
  include: readonly IncludeClause[],
): { verdict: GenevalVerdict; clauses: ClauseScore[] } {
  const failures: ClauseFailure[] = [];
  const groups: MatchedGroups = [];
  const clauses = include.map((clause, index) => {
    const found = objects.get(clause.class) ?? [];
    const { terms, failure } = strictClause(clause, found, groups);
    if (failure !== null) failures.push({ ruleSet: 'strict', list: 'include', index, message: failure });
    groups.push(failure === null ? found : null);
    const matched = failure === null;
    return { className: clause.class, terms, matched, aspects: aspectsOf(clause, found, matched) };
  });
  return { verdict: verdictOf(failures), clauses };
}

function aspectsOf(clause: IncludeClause, found: readonly Detection[], matched: boolean): ClauseAspects {
  const { count, color, position } = clause;
  const colored = color === undefined || found.length !== count ? 0 : closeness(countColor(found, color), count);
  return {
    count: clamp(closeness(found.length, count)),
    color: color === undefined ? null : colored,
    position: position === undefined ? null : Number(matched),
  };
}

/** Terms of one clause. A wrong relation pushes 0 and then 1: the server does so, and the score is to be comparable. */
function strictClause(
  clause: IncludeClause,
  found: readonly Detection[],
  groups: MatchedGroups,
): { terms: number[]; failure: string | null } {
  const terms = [closeness(found.length, clause.count)];
  if (found.length !== clause.count) {
    if (clause.color !== undefined || clause.position !== undefined) terms.push(0);
    return { terms, failure: `expected ${clause.class}==${clause.count}, found ${found.length}` };
  }
  const wrongColor = colorFailure(clause, found);
  if (clause.color !== undefined) terms.push(closeness(countColor(found, clause.color), clause.count));
  if (wrongColor !== null || clause.position === undefined) return { terms, failure: wrongColor };
  const wrongPosition = positionFailure(clause, found, groups);
  if (wrongPosition === null) terms.push(1);
  else terms.push(...(groups[clause.position[1]] === null ? [0] : [0, 1]));
  return { terms, failure: wrongPosition };
}

function closeness(received: number, wanted: number): number {
  return 1 - Math.abs(wanted - received) / wanted;
}

function clamp(value: number): number {
  return Math.max(0, Math.min(1, value));
}

function countColor(found: readonly Detection[], color: string): number {
  return found.filter((object) => object.color === color).length;
}

/** Both rule sets look at exactly `count` objects here, so "at least" and "equal" mean the same; both originals write >=. */
function colorFailure(clause: IncludeClause, found: readonly Detection[]): string | null {
  if (clause.color === undefined) return null;
  const matching = countColor(found, clause.color);
  if (matching === clause.count) return null;
  const seen = GENEVAL_COLORS.filter((color) => countColor(found, color) > 0).map(
    (color) => `${countColor(found, color)} ${color}`,
  );
  const wanted = `${clause.color} ${clause.class}>=${clause.count}`;
  return `expected ${wanted}, found ${matching} ${clause.color}; and ${seen.join(', ')}`;
}

function positionFailure(clause: IncludeClause, found: readonly Detection[], groups: MatchedGroups): string | null {
  if (clause.position === undefined) return null;
  const [relation, index] = clause.position;
  const targets = groups[index] ?? null;
  if (targets === null) return `no target for ${clause.class} to be ${relation}`;
  for (const object of found) {
    for (const target of targets) {
      const relations = relationsOf(object.box, target.box);
      if (relations.includes(relation)) continue;
      return `expected ${clause.class} ${relation} target, found ${relations.join(' and ')} target`;
    }
  }
  return null;
}

function meanOrZero(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
