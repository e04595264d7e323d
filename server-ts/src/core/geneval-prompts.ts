import { GENEVAL_COLORS, GENEVAL_OBJECTS } from './geneval-objects.js';
import { deriveUniform } from './seeds.js';
import type { IncludeClause, PromptRecord, Relation } from './types.js';

/** A prompt with GenEval's metadata, field by field as its files write it. */
export interface GenevalPrompt {
  readonly tag: GenevalTag;
  readonly include: readonly IncludeClause[];
  readonly exclude?: PromptRecord['exclude'];
  readonly prompt: string;
}

/** Kinds of GenEval prompts. */
export type GenevalTag = 'single_object' | 'two_object' | 'counting' | 'colors' | 'position' | 'color_attr';

const RELATIONS: readonly Relation[] = ['left of', 'right of', 'above', 'below'];
const NUMBERS = ['zero', 'one', 'two', 'three', 'four'] as const;
const COUNTS = [2, 3, 4] as const;

/** Flow-GRPO's shares of a training set. */
export const TRAINING_WEIGHTS: Readonly<Partial<Record<GenevalTag, number>>> = {
  position: 7,
  counting: 5,
  color_attr: 3,
  colors: 1,
  two_object: 1,
};

/** What is drawn. */
export interface GenevalDraw {
  /** Whole number >= 0; the same seed gives the same lines. */
  readonly seed: number;
  /** Lines by kind. */
  readonly counts: Readonly<Partial<Record<GenevalTag, number>>>;
  /** Classes to draw from, at least 2. */
  readonly objects: readonly string[];
  /** Prompts that must not be drawn. */
  readonly exclude: ReadonlySet<string>;
}

/**
 * Draws prompts from GenEval's templates (rewards.md 1.7), shuffled. A kind's lines differ as long as it has enough different
 * prompts; then they repeat. NumPy's list of the official seed is another one: take the official file where that matters.
 */
export function drawGenevalPrompts(draw: GenevalDraw): GenevalPrompt[] {
  const tags = Object.keys(draw.counts) as GenevalTag[];
  const lines = tags.flatMap((tag) => drawTag(tag, draw.counts[tag] ?? 0, draw));
  return [...permutation(lines.length, (index) => deriveUniform(draw.seed, 'geneval order', index))].map(
    (place) => lines[place] as GenevalPrompt,
  );
}

/** Counts of a training set of `total` lines: the weights' shares, rounded so that they sum to it. */
export function trainingCounts(total: number): Partial<Record<GenevalTag, number>> {
  const weights = Object.entries(TRAINING_WEIGHTS);
  const sum = weights.reduce((all, [, weight]) => all + weight, 0);
  let [before, given] = [0, 0];
  return Object.fromEntries(
    weights.map(([tag, weight]) => {
      before += weight;
      const count = Math.round((total * before) / sum) - given;
      given += count;
      return [tag, count];
    }),
  );
}

/** Counts of an evaluation set: every class once, and `perTag` prompts of each other kind. */
export function evaluationCounts(perTag: number, objectCount: number): Partial<Record<GenevalTag, number>> {
  const drawn = { two_object: perTag, counting: perTag, colors: perTag, position: perTag, color_attr: perTag };
  return { single_object: objectCount, ...drawn };
}

/** Splits the classes: `unseen` of them are kept from training. */
export function splitObjects(seed: number, unseen: number): { readonly seen: string[]; readonly unseen: string[] } {
  const order = permutation(GENEVAL_OBJECTS.length, (index) => deriveUniform(seed, 'geneval split', index));
  const held = new Set([...order].slice(0, unseen));
  return {
    seen: GENEVAL_OBJECTS.filter((_, index) => !held.has(index)),
    unseen: GENEVAL_OBJECTS.filter((_, index) => held.has(index)),
  };
}

/** Text of a prompt from its clauses: GenEval's templates. */
export function genevalText(tag: GenevalTag, include: readonly IncludeClause[]): string {
  const [first, second] = include;
  if (first === undefined) return '';
  if (tag === 'counting') return `a photo of ${NUMBERS[first.count]} ${plural(first.class)}`;
  if (second?.position !== undefined) {
    return `a photo of ${withArticle(second)} ${second.position[0]} ${withArticle(first)}`;
  }
  return `a photo of ${include.map(withArticle).join(' and ')}`;
}

function withArticle({ color, class: name }: IncludeClause): string {
  const words = color === undefined ? name : `${color} ${name}`;
  return `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
}

/** GenEval's spelling, also where English has another one (knifes, sheeps). */
function plural(name: string): string {
  return name.endsWith('s') ? `${name}es` : `${name}s`;
}

function drawTag(tag: GenevalTag, count: number, { seed, objects, exclude }: GenevalDraw): GenevalPrompt[] {
  const space = spaceOf(tag, objects);
  const lines: GenevalPrompt[] = [];
  for (const place of permutation(space.size, (index) => deriveUniform(seed, 'geneval prompts', tag, index))) {
    if (lines.length === count) break;
    const line = lineOf(tag, space.at(place));
    if (!exclude.has(line.prompt)) lines.push(line);
  }
  const different = lines.length;
  while (different > 0 && lines.length < count) {
    const place = Math.floor(deriveUniform(seed, 'geneval repeats', tag, lines.length) * different);
    lines.push(lines[place] as GenevalPrompt);
  }
  return lines;
}

function lineOf(tag: GenevalTag, include: readonly IncludeClause[]): GenevalPrompt {
  const [first] = include;
  const exclude = tag === 'counting' && first ? { exclude: [{ class: first.class, count: first.count + 1 }] } : {};
  return { tag, include, ...exclude, prompt: genevalText(tag, include) };
}

/** All prompts of a kind, by number. */
interface PromptSpace {
  readonly size: number;
  at(place: number): IncludeClause[];
}

function spaceOf(tag: GenevalTag, objects: readonly string[]): PromptSpace {
  // GenEval gives people no colour.
  const colored = objects.filter((name) => name !== 'person');
  switch (tag) {
    case 'single_object':
      return choices([objects], ([name]) => [{ class: name, count: 1 }]);
    case 'two_object':
      return choices([pairs(objects)], ([[a, b]]) => [
        { class: a, count: 1 },
        { class: b, count: 1 },
      ]);
    case 'counting':
      return choices([COUNTS, objects], ([count, name]) => [{ class: name, count }]);
    case 'colors':
      return choices([GENEVAL_COLORS, colored], ([color, name]) => [{ class: name, count: 1, color }]);
    case 'position':
      return choices([RELATIONS, pairs(objects)], ([relation, [a, b]]) => [
        { class: b, count: 1 },
        { class: a, count: 1, position: [relation, 0] },
      ]);
    case 'color_attr':
      return choices([pairs(GENEVAL_COLORS), pairs(colored)], ([[colorA, colorB], [a, b]]) => [
        { class: a, count: 1, color: colorA },
        { class: b, count: 1, color: colorB },
      ]);
  }
}

/** Ordered pairs of different elements. */
function pairs<T>(list: readonly T[]): (readonly [T, T])[] {
  return list.flatMap((a) => list.filter((b) => b !== a).map((b) => [a, b] as const));
}

/** Every way to choose one element of each list. */
function choices<T extends readonly (readonly unknown[])[]>(
  lists: readonly [...T],
  clauses: (chosen: { [K in keyof T]: T[K][number] }) => IncludeClause[],
): PromptSpace {
  return {
    size: lists.reduce((size, list) => size * list.length, 1),
    at(place) {
      let rest = place;
      const chosen = lists.map((list) => {
        const element = list[rest % list.length];
        rest = Math.floor(rest / list.length);
        return element;
      });
      return clauses(chosen as { [K in keyof T]: T[K][number] });
    },
  };
}

/** Numbers 0..size-1 in random order, one by one (Fisher and Yates); only what was moved is kept. */
function* permutation(size: number, uniform: (index: number) => number): Generator<number> {
  const moved = new Map<number, number>();
  for (let index = 0; index < size; index++) {
    const other = index + Math.floor(uniform(index) * (size - index));
    yield moved.get(other) ?? other;
    moved.set(other, moved.get(index) ?? index);
  }
}
