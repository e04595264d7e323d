import { nounPhrases, phraseBefore } from './noun-phrases.js';
import type { CoreContent, IncludeClause, PromptRecord, Task } from './types.js';

/** Half-open range of UTF-16 units. */
interface TextRange {
  readonly start: number;
  readonly end: number;
}

interface Concept extends TextRange {
  readonly name: string;
  readonly weight: number;
}

/** Weight of what carries an OCR text, against 1 for the text (method.md 5). */
const CARRIER_WEIGHT = 0.5;
/** The first phrase of a free prompt is usually its subject (method.md 5). */
const FIRST_PHRASE_WEIGHT = 1.5;
const PREFIX = /^\s*a photo of /i;
const DETERMINER = /^(?:an?|the|two|three|four|five|six|seven|eight|nine|ten) /i;
const CONNECTOR = /^ (?:and|left of|right of|above|below) /i;

const EMPTY: CoreContent = { concepts: [], spans: [] };

/**
 * Core content of a prompt by task (method.md 5): GenEval objects with their colours, the quoted text and its carrier, or noun
 * phrases. Offsets count Unicode code points.
 *
 * @returns empty where nothing is found; the allocation map is then uniform
 */
export function coreContentOf(task: Task, record: PromptRecord): CoreContent {
  if (task === 'geneval') return toCoreContent(record.prompt, genevalConcepts(record));
  if (task === 'ocr') return toCoreContent(record.prompt, ocrConcepts(record.prompt));
  return toCoreContent(record.prompt, phraseConcepts(record.prompt));
}

/** One concept per include entry; entries that the prompt does not name have none. */
function genevalConcepts(record: PromptRecord): Concept[] {
  const clauses = inTextOrder(record.include);
  const ranges = bindByTemplate(record.prompt, clauses) ?? bindBySearch(record.prompt, clauses);
  return clauses.flatMap((clause, index) => {
    const range = ranges[index];
    const name = clause.color === undefined ? clause.class : `${clause.color} ${clause.class}`;
    return range === undefined || range === null ? [] : [{ ...range, name, weight: 1 }];
  });
}

/** Position prompts name the placed object first: include is [reference, subject]. */
function inTextOrder(include: readonly IncludeClause[]): readonly IncludeClause[] {
  return include.length === 2 && include[1]?.position !== undefined ? [...include].reverse() : include;
}

/**
 * Follows the grammar "a photo of" DETERMINER [colour] NOUN (CONNECTOR DETERMINER [colour] NOUN)*, so that a word which is both
 * class and colour ("an orange orange") is bound by its place.
 *
 * @returns null when the prompt does not follow the grammar to its end
 */
function bindByTemplate(prompt: string, clauses: readonly IncludeClause[]): TextRange[] | null {
  let place = PREFIX.exec(prompt)?.[0].length ?? 0;
  const ranges: TextRange[] = [];
  for (const [index, clause] of clauses.entries()) {
    if (index > 0) {
      const connector = CONNECTOR.exec(prompt.slice(place));
      if (connector === null) return null;
      place += connector[0].length;
    }
    place += DETERMINER.exec(prompt.slice(place))?.[0].length ?? 0;
    const phrase = new RegExp(`^${phrasePattern(clause)}`, 'i').exec(prompt.slice(place));
    if (phrase === null) return null;
    ranges.push({ start: place, end: place + phrase[0].length });
    place += phrase[0].length;
  }
  return /^\W*$/u.test(prompt.slice(place)) ? ranges : null;
}

/** For prompts in other words: every clause takes the first free mention, after the previous clause's if there is one. */
function bindBySearch(prompt: string, clauses: readonly IncludeClause[]): (TextRange | null)[] {
  const taken: TextRange[] = [];
  let place = 0;
  return clauses.map((clause) => {
    const mentions = [clause, { ...clause, color: undefined }].flatMap((wanted) => mentionsOf(prompt, wanted));
    const free = mentions.filter((one) => taken.every((other) => one.end <= other.start || one.start >= other.end));
    const chosen = free.find((mention) => mention.start >= place) ?? free[0] ?? null;
    if (chosen === null) return null;
    taken.push(chosen);
    place = chosen.end;
    return chosen;
  });
}

function mentionsOf(prompt: string, clause: IncludeClause): TextRange[] {
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])${phrasePattern(clause)}`, 'giu');
  return Array.from(prompt.matchAll(pattern), (match) => ({ start: match.index, end: match.index + match[0].length }));
}

/** Optional colour and the class name, singular or GenEval's plural ("scissorses"), up to a word end. */
function phrasePattern(clause: IncludeClause): string {
  const color = clause.color === undefined ? '' : `${literal(clause.color)} `;
  const plural = clause.class.endsWith('s') ? 'es' : 's';
  return `${color}${literal(clause.class)}(?:${plural})?(?![A-Za-z0-9])`;
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** The first quoted string, as the scorer reads it, and the phrase that leads to it ("a neon sign that says"). */
function ocrConcepts(prompt: string): Concept[] {
  const open = prompt.indexOf('"');
  const close = prompt.indexOf('"', open + 1);
  if (open < 0 || close <= open + 1) return [];
  const text = { start: open + 1, end: close, name: 'text', weight: 1 };
  const carrier = phraseBefore(prompt, open);
  return carrier === null ? [text] : [text, { ...carrier, name: 'carrier', weight: CARRIER_WEIGHT }];
}

function phraseConcepts(prompt: string): Concept[] {
  return nounPhrases(prompt).map((range, index) => ({
    ...range,
    name: prompt.slice(range.start, range.end).toLowerCase(),
    weight: index === 0 ? FIRST_PHRASE_WEIGHT : 1,
  }));
}

function toCoreContent(prompt: string, concepts: readonly Concept[]): CoreContent {
  if (concepts.length === 0) return EMPTY;
  return {
    concepts: concepts.map(({ name, weight }) => ({ name, weight })),
    spans: concepts.map(({ start, end }, conceptIndex) => ({
      start: codePoints(prompt, start),
      end: codePoints(prompt, end),
      conceptIndex,
    })),
  };
}

/** Offset in code points of an offset in UTF-16 units. */
function codePoints(text: string, offset: number): number {
  return Array.from(text.slice(0, offset)).length;
}
