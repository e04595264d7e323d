import { z } from 'zod';
import type { ErrorReason } from '../../core/errors.js';
import { abstention, failedOutcome, requireFinite, type ScorerInput, type ScorerOutcome } from '../scorer.js';

/** JSON of the HTTP scorer, version 1 (docs/http-scorer.md): pictures out, results back. Pure. */

const VERSION = 1;

/** Reasons that a server may give for one picture. */
const ITEM_REASONS = [
  'IMAGE_INVALID',
  'PROMPT_INVALID',
  'SCORER_CRASHED',
  'SCORER_TIMEOUT',
  'SCORER_UNAVAILABLE',
] as const satisfies readonly ErrorReason[];

const clause = z.strictObject({ class: z.string(), count: z.int() });

const requestItem = z.strictObject({
  id: z.string().describe('unique in the request; echoed'),
  prompt: z.string(),
  metadata: z.strictObject({
    tag: z.string().describe('kind of prompt'),
    include: z
      .array(
        clause.extend({
          color: z.string().optional(),
          position: z.tuple([z.string(), z.int()]).optional().describe('relation, index of an earlier include clause'),
        }),
      )
      .describe('GenEval clauses; empty for other tasks'),
    exclude: z.array(clause),
    targetText: z.string().nullable().describe('text that should be readable; null for other tasks'),
  }),
  image: z.string().describe('PNG file, base64'),
});

/** Body of the POST. */
export const requestSchema = z.strictObject({ version: z.literal(VERSION), items: z.array(requestItem).min(1) });

const id = z.string().describe('as in the request');
const message = z.string().describe('for people');

const abstained = z.object({ id, abstain: message.describe('why the scorer has nothing to say about this prompt') });
const failed = z.object({ id, error: z.object({ reason: z.enum(ITEM_REASONS), message }) });
const scored = z.object({ id, values: z.record(z.string(), z.number()).describe('finite numbers by name') });
const result = z.union([scored, abstained, failed]);

/** As `result`, with any number: JSON has no infinity, but 1e999 becomes one, and that failure has a reason of its own. */
const number = z.custom<number>((value) => typeof value === 'number', 'expected a number');
const receivedResult = z.union([scored.extend({ values: z.record(z.string(), number) }), abstained, failed]);

const EXPECTED = `id with values (numbers by name), abstain (text) or error (reason of ${ITEM_REASONS.join(', ')}; message)`;

/** Body of the answer: one result per item, in any order. */
export const responseSchema = z.object({ results: z.array(result) });

/** Answer of GET `info`; optional. */
export const infoSchema = z.object({ version: z.string().min(1).max(200).describe('kept with every score') });

/** What an answer must be before its results are looked at one by one, so that one wrong result does not spoil the others. */
const envelope = z.object({ results: z.array(z.looseObject({ id })) });

/** Body for pictures; ids are their positions. */
export function requestBody(inputs: readonly ScorerInput[]): string {
  const items = inputs.map(({ prompt: { prompt, tag, include, exclude, targetText }, png }, index) => ({
    id: String(index),
    prompt,
    metadata: { tag, include, exclude, targetText },
    image: Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64'),
  }));
  return JSON.stringify({ version: VERSION, items });
}

/**
 * Reads an answer.
 *
 * @param count pictures in the request
 * @param values names that every result must have
 * @returns one outcome per picture; what is missing, repeated or not as agreed is failed with SCORER_ANSWER_INVALID, a number
 *   that is not finite with SCORE_NOT_FINITE
 */
export function outcomesOf(body: string, count: number, values: readonly string[]): ScorerOutcome[] {
  const results = parseEnvelope(body);
  if (typeof results === 'string') return Array.from({ length: count }, () => invalid(results));
  return Array.from({ length: count }, (_, index) => {
    const mine = results.filter((entry) => entry.id === String(index));
    if (mine.length !== 1) return invalid(`expected one result with id "${index}", received ${mine.length}`);
    return outcomeOf(mine[0], values);
  });
}

/** The results, or what is wrong with the whole answer. */
function parseEnvelope(body: string): z.infer<typeof envelope>['results'] | string {
  try {
    const parsed = envelope.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data.results : `the answer is not as agreed: ${z.prettifyError(parsed.error)}`;
  } catch (error) {
    return `the answer is not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function outcomeOf(entry: unknown, names: readonly string[]): ScorerOutcome {
  const { data } = receivedResult.safeParse(entry);
  if (data === undefined) return invalid(`expected ${EXPECTED}; received ${JSON.stringify(entry).slice(0, 200)}`);
  if ('values' in data) return valuesOf(data.values, names);
  if ('abstain' in data) return abstention(data.abstain);
  return failedOutcome(data.error.reason, data.error.message);
}

function valuesOf(received: Readonly<Record<string, number>>, names: readonly string[]): ScorerOutcome {
  const missing = names.filter((name) => received[name] === undefined);
  if (missing.length > 0) {
    return invalid(`a result lacks ${missing.join(', ')}; it has ${Object.keys(received).join(', ')}`);
  }
  const values = Object.fromEntries(names.map((name) => [name, received[name] as number]));
  return requireFinite({ kind: 'value', values, evidence: { kind: 'none' } });
}

function invalid(what: string): ScorerOutcome {
  return failedOutcome('SCORER_ANSWER_INVALID', what);
}
