import type { Detection, IncludeClause, PromptRecord, Relation } from './types.js';

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
  /** One line per failure; empty when passed. */
  readonly reason: string;
}

/** Terms that one include clause adds to the training score. */
export interface ClauseScore {
  readonly className: string;
  /** Raw terms in the order in which Flow-GRPO's server pushes them; may be below 0. */
  readonly terms: readonly number[];
  /** Exact count, colours and relations hold. */
  readonly matched: boolean;
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
}

type Box = Detection['box'];

/** Share of the summed sizes by which an offset must exceed 0. */
const POSITION_THRESHOLD = Math.fround(0.1);

/** Order in which the official reason lists colours. */
const COLORS = ['red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink', 'brown', 'black', 'white'];

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
  const { verdict: strict, clauses } = judgeStrict(objects, prompt.include);
  const terms = clauses.flatMap((clause) => clause.terms);
  const clamped = terms.map((term) => Math.max(0, Math.min(1, term)));
  return {
    correct: judgeCorrect(objects, prompt),
    strict,
    score: meanOrZero(terms),
    clampedScore: meanOrZero(clamped),
    clauses,
  };
}

/**
 * Objects that count, by class: score descending, equal scores with the later detection first, at most `maxObjects`, then
 * optionally suppressed by overlap.
 */
export function selectObjects(
  detections: readonly Detection[],
  tag: string,
  thresholds: GenevalThresholds,
): ReadonlyMap<string, readonly Detection[]> {
  const limit = Math.fround(tag === 'counting' ? thresholds.countingThreshold : thresholds.threshold);
  const byClass = new Map<string, Detection[]>();
  for (const detection of detections) {
    if (!(Math.fround(detection.score) > limit)) continue;
    const list = byClass.get(detection.className) ?? [];
    list.unshift(detection);
    byClass.set(detection.className, list);
  }
  for (const [className, list] of byClass) {
    list.sort((a, b) => Math.fround(b.score) - Math.fround(a.score));
    byClass.set(className, suppress(list.slice(0, thresholds.maxObjects), thresholds.maxOverlap));
  }
  return byClass;
}

/**
 * Relations in which box a stands to box b (rewards.md 1.3), in float32; y points down.
 *
 * @returns none, one, or two (diagonal)
 */
export function relationsOf(a: Box, b: Box): Relation[] {
  const [dx, dy] = direction(a, b);
  const relations: Relation[] = [];
  if (dx < -0.5) relations.push('left of');
  if (dx > 0.5) relations.push('right of');
  if (dy < -0.5) relations.push('above');
  if (dy > 0.5) relations.push('below');
  return relations;
}

type Objects = ReadonlyMap<string, readonly Detection[]>;
type MatchedGroups = (readonly Detection[] | null)[];

function judgeCorrect(objects: Objects, prompt: Pick<PromptRecord, 'include' | 'exclude'>): GenevalVerdict {
  const reasons: string[] = [];
  const groups: MatchedGroups = [];
  for (const clause of prompt.include) {
    const found = (objects.get(clause.class) ?? []).slice(0, clause.count);
    const failure =
      found.length < clause.count
        ? `expected ${clause.class}>=${clause.count}, found ${found.length}`
        : (colorFailure(clause, found) ?? positionFailure(clause, found, groups));
    if (failure !== null) reasons.push(failure);
    groups.push(failure === null ? found : null);
  }
  for (const clause of prompt.exclude) {
    const count = objects.get(clause.class)?.length ?? 0;
    if (count >= clause.count) reasons.push(`expected ${clause.class}<${clause.count}, found ${count}`);
  }
  return { passed: reasons.length === 0, reason: reasons.join('\n') };
}

function judgeStrict(
  objects: Objects,
  include: readonly IncludeClause[],
): { verdict: GenevalVerdict; clauses: ClauseScore[] } {
  const reasons: string[] = [];
  const groups: MatchedGroups = [];
  const clauses = include.map((clause) => {
    const found = objects.get(clause.class) ?? [];
    const { terms, failure } = strictClause(clause, found, groups);
    if (failure !== null) reasons.push(failure);
    groups.push(failure === null ? found : null);
    return { className: clause.class, terms, matched: failure === null };
  });
  return { verdict: { passed: reasons.length === 0, reason: reasons.join('\n') }, clauses };
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

function countColor(found: readonly Detection[], color: string): number {
  return found.filter((object) => object.color === color).length;
}

/** Both rule sets look at exactly `count` objects here, so "at least" and "equal" mean the same; both originals write >=. */
function colorFailure(clause: IncludeClause, found: readonly Detection[]): string | null {
  if (clause.color === undefined) return null;
  const matching = countColor(found, clause.color);
  if (matching === clause.count) return null;
  const seen = COLORS.filter((color) => countColor(found, color) > 0).map(
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

/** Offset from b to a, shrunk by the sizes and divided by its unshrunk length; [0, 0] when the boxes are too close to tell. */
function direction(a: Box, b: Box): [number, number] {
  const x = axisOffset(a[0], a[2], b[0], b[2]);
  const y = axisOffset(a[1], a[3], b[1], b[3]);
  if (Math.abs(x.shrunk) < 1e-3 && Math.abs(y.shrunk) < 1e-3) return [0, 0];
  const square = Math.fround(Math.fround(x.offset * x.offset) + Math.fround(y.offset * y.offset));
  const length = Math.fround(Math.sqrt(square));
  return [Math.fround(x.shrunk / length), Math.fround(y.shrunk / length)];
}

function axisOffset(a1: number, a2: number, b1: number, b2: number): { offset: number; shrunk: number } {
  const centerA = Math.fround(Math.fround(Math.fround(a1) + Math.fround(a2)) / 2);
  const centerB = Math.fround(Math.fround(Math.fround(b1) + Math.fround(b2)) / 2);
  const sizeA = Math.abs(Math.fround(Math.fround(a2) - Math.fround(a1)));
  const sizeB = Math.abs(Math.fround(Math.fround(b2) - Math.fround(b1)));
  const offset = Math.fround(centerA - centerB);
  const margin = Math.fround(POSITION_THRESHOLD * Math.fround(sizeA + sizeB));
  return { offset, shrunk: Math.max(Math.fround(Math.abs(offset) - margin), 0) * Math.sign(offset) };
}

function suppress(sorted: readonly Detection[], maxOverlap: number): Detection[] {
  if (maxOverlap >= 1) return [...sorted];
  const kept: Detection[] = [];
  for (const candidate of sorted) {
    if (kept.every((object) => overlap(object.box, candidate.box) < maxOverlap)) kept.push(candidate);
  }
  return kept;
}

/** Intersection over union with the +1 pixel convention of the original. */
function overlap(a: Box, b: Box): number {
  const area = (box: Box): number => Math.max(box[2] - box[0] + 1, 0) * Math.max(box[3] - box[1] + 1, 0);
  const intersection = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  const union = area(a) + area(b) - intersection;
  return union > 0 ? intersection / union : 0;
}
