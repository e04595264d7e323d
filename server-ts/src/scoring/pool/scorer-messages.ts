import { ERROR_REASONS, type ErrorReason, StarError } from '../../core/errors.js';
import type {
  CharacterMatch,
  ClauseFailure,
  Detection,
  DetectionEvidence,
  Evidence,
  PromptRecord,
  Relation,
  ScoreFailure,
  TextLine,
  TextPoint,
} from '../../core/types.js';
import { ErrorReason as WireReason } from '../../gen/star/v1/error_reason.js';
import type * as wire from '../../gen/star/v1/scorer.js';
import { CharacterOperation, ScorerReply, ScorerRequest } from '../../gen/star/v1/scorer.js';
import type { ScoreRequest } from '../../pipeline/ports.js';
import type { ScorerOutcome } from '../scorer.js';

/** Mapping between the messages of `scorer.proto` and the core types. The only place that knows both. */

/**
 * Heartbeats that either side may miss before it gives the other one up. Counted in ticks of its own timer, not in time: a
 * side that was itself blocked or suspended has not missed anything. Not counted while a batch is at work, because
 * inference blocks the process; there the batch timeout is the limit.
 */
export const MAX_MISSED_BEATS = 15;

/** Pool to process. */
export type PoolMessage =
  | { readonly kind: 'batch'; readonly batchId: bigint; readonly attempt: number; readonly items: ScoreRequest[] }
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'refusal'; readonly failure: ScoreFailure };

/** Process to pool. */
export type ProcessMessage =
  | { readonly kind: 'ready'; readonly scorer: string; readonly bundleHash: string; readonly runtime: string }
  | { readonly kind: 'loadFailure'; readonly failure: ScoreFailure }
  | { readonly kind: 'result'; readonly batchId: bigint; readonly attempt: number; readonly outcomes: ScorerOutcome[] }
  | { readonly kind: 'heartbeat' };

type Box = Detection['box'];

const OPERATIONS: Readonly<Record<CharacterMatch['operation'], CharacterOperation>> = {
  match: CharacterOperation.CHARACTER_OPERATION_MATCH,
  substitute: CharacterOperation.CHARACTER_OPERATION_SUBSTITUTE,
  insert: CharacterOperation.CHARACTER_OPERATION_INSERT,
  delete: CharacterOperation.CHARACTER_OPERATION_DELETE,
};

const RELATIONS: readonly string[] = ['left of', 'right of', 'above', 'below'] satisfies Relation[];

/** Bytes of a message to a scorer process. */
export function encodePoolMessage(message: PoolMessage): Uint8Array {
  return ScorerRequest.encode({ message: poolMessageToWire(message) }).finish();
}

/** @throws StarError INTERNAL for bytes that are no ScorerRequest of this version */
export function decodePoolMessage(bytes: Uint8Array): PoolMessage {
  const { message } = ScorerRequest.decode(bytes);
  if (message === undefined) throw unknownMessage('ScorerRequest');
  if (message.$case === 'refusal') return { kind: 'refusal', failure: failureFromWire(message.value) };
  if (message.$case !== 'batch') return { kind: message.$case };
  const { batchId, attempt, items } = message.value;
  return { kind: 'batch', batchId, attempt, items: items.map(itemFromWire) };
}

/** Bytes of a message to the pool. */
export function encodeProcessMessage(message: ProcessMessage): Uint8Array {
  return ScorerReply.encode({ message: processMessageToWire(message) }).finish();
}

/** @throws StarError INTERNAL for bytes that are no ScorerReply of this version */
export function decodeProcessMessage(bytes: Uint8Array): ProcessMessage {
  const { message } = ScorerReply.decode(bytes);
  switch (message?.$case) {
    case 'ready':
      return { kind: 'ready', ...message.value };
    case 'loadFailure':
      return { kind: 'loadFailure', failure: failureFromWire(message.value) };
    case 'result':
      return { kind: 'result', ...message.value, outcomes: message.value.outcomes.map(outcomeFromWire) };
    case 'heartbeat':
      return { kind: 'heartbeat' };
    case undefined:
      throw unknownMessage('ScorerReply');
  }
}

function poolMessageToWire(message: PoolMessage): NonNullable<ScorerRequest['message']> {
  if (message.kind === 'refusal') return { $case: 'refusal', value: failureToWire(message.failure) };
  if (message.kind !== 'batch') return { $case: message.kind, value: {} };
  const { batchId, attempt, items } = message;
  return { $case: 'batch', value: { batchId, attempt, items: items.map(itemToWire) } };
}

function processMessageToWire(message: ProcessMessage): NonNullable<ScorerReply['message']> {
  switch (message.kind) {
    case 'ready':
      return { $case: 'ready', value: message };
    case 'loadFailure':
      return { $case: 'loadFailure', value: failureToWire(message.failure) };
    case 'result': {
      const { batchId, attempt, outcomes } = message;
      return { $case: 'result', value: { batchId, attempt, outcomes: outcomes.map(outcomeToWire) } };
    }
    case 'heartbeat':
      return { $case: 'heartbeat', value: {} };
  }
}

function itemToWire(item: ScoreRequest): wire.ScoreItem {
  return { rolloutId: item.rolloutId, prompt: promptToWire(item.prompt), image: item.image };
}

function itemFromWire(item: wire.ScoreItem): ScoreRequest {
  if (item.prompt === undefined) throw new StarError('INTERNAL', `item ${item.rolloutId} came without a prompt`);
  return { rolloutId: item.rolloutId, prompt: promptFromWire(item.prompt), image: item.image };
}

function promptToWire(prompt: PromptRecord): wire.ScorePrompt {
  return {
    prompt: prompt.prompt,
    tag: prompt.tag,
    include: prompt.include.map((clause) => ({
      className: clause.class,
      count: clause.count,
      color: clause.color,
      position: clause.position && { relation: clause.position[0], targetIndex: clause.position[1] },
    })),
    exclude: prompt.exclude.map((clause) => ({ className: clause.class, count: clause.count })),
    targetText: prompt.targetText ?? undefined,
  };
}

function promptFromWire(prompt: wire.ScorePrompt): PromptRecord {
  return {
    prompt: prompt.prompt,
    tag: prompt.tag,
    include: prompt.include.map((clause) => ({
      class: clause.className,
      count: clause.count,
      color: clause.color,
      position: clause.position && [relationFromWire(clause.position.relation), clause.position.targetIndex],
    })),
    exclude: prompt.exclude.map((clause) => ({ class: clause.className, count: clause.count })),
    targetText: prompt.targetText ?? null,
  };
}

function relationFromWire(relation: string): Relation {
  if (RELATIONS.includes(relation)) return relation as Relation;
  throw new StarError('INTERNAL', `unknown relation "${relation}"; expected one of ${RELATIONS.join(', ')}`);
}

function outcomeToWire(outcome: ScorerOutcome): wire.ScoreOutcome {
  if (outcome.kind === 'failed') return { outcome: { $case: 'failure', value: failureToWire(outcome.failure) } };
  if (outcome.kind === 'abstained') return { outcome: { $case: 'abstention', value: { message: outcome.message } } };
  return {
    outcome: { $case: 'value', value: { values: { ...outcome.values }, evidence: evidenceToWire(outcome.evidence) } },
  };
}

function outcomeFromWire({ outcome }: wire.ScoreOutcome): ScorerOutcome {
  if (outcome === undefined) throw unknownMessage('ScoreOutcome');
  if (outcome.$case === 'failure') return { kind: 'failed', failure: failureFromWire(outcome.value) };
  if (outcome.$case === 'abstention') return { kind: 'abstained', message: outcome.value.message };
  return { kind: 'value', values: outcome.value.values, evidence: evidenceFromWire(outcome.value.evidence) };
}

function failureToWire(failure: ScoreFailure): wire.ScoreFailure {
  return { reason: WireReason[`ERROR_REASON_${failure.reason}`], message: failure.message };
}

function failureFromWire(failure: wire.ScoreFailure): ScoreFailure {
  return { reason: reasonFromWire(failure.reason), message: failure.message };
}

function reasonFromWire(reason: WireReason): ErrorReason {
  const found = ERROR_REASONS.find((name) => WireReason[`ERROR_REASON_${name}`] === reason);
  if (found === undefined) throw new StarError('INTERNAL', `unknown error reason ${reason} from a scorer process`);
  return found;
}

function evidenceToWire(evidence: Evidence): wire.ScoreValue['evidence'] {
  if (evidence.kind === 'none') return undefined;
  if (evidence.kind === 'text') {
    const { text, lines, alignment } = evidence;
    return { $case: 'text', value: { text, lines: lines.map(lineToWire), alignment: alignment.map(matchToWire) } };
  }
  return { $case: 'detections', value: detectionsToWire(evidence) };
}

function evidenceFromWire(evidence: wire.ScoreValue['evidence']): Evidence {
  if (evidence === undefined) return { kind: 'none' };
  if (evidence.$case === 'text') {
    const { text, lines, alignment } = evidence.value;
    return { kind: 'text', text, lines: lines.map(lineFromWire), alignment: alignment.map(matchFromWire) };
  }
  return detectionsFromWire(evidence.value);
}

function detectionsToWire(evidence: DetectionEvidence): wire.DetectionEvidence {
  return {
    objects: evidence.detections.map((found) => ({
      className: found.className,
      score: found.score,
      box: boxToWire(found.box),
      color: found.color ?? undefined,
      mask: found.mask === null ? undefined : { ...found.mask, runs: [...found.mask.runs] },
    })),
    reason: evidence.reason,
    failures: [...evidence.failures],
    clauseVector: evidence.clauseVector.map((value) => value ?? Number.NaN),
    colorBackend: evidence.colorBackend,
  };
}

function detectionsFromWire(evidence: wire.DetectionEvidence): DetectionEvidence {
  return {
    kind: 'detections',
    detections: evidence.objects.map((found) => ({
      className: found.className,
      score: found.score,
      box: boxFromWire(found.box),
      color: found.color ?? null,
      mask: found.mask ?? null,
    })),
    reason: evidence.reason,
    failures: evidence.failures.map(clauseFailureFromWire),
    clauseVector: evidence.clauseVector.map((value) => (Number.isNaN(value) ? null : value)),
    colorBackend: evidence.colorBackend,
  };
}

function clauseFailureFromWire({ ruleSet, list, index, message }: wire.ClauseFailure): ClauseFailure {
  if ((ruleSet === 'official' || ruleSet === 'strict') && (list === 'include' || list === 'exclude')) {
    return { ruleSet, list, index, message };
  }
  throw new StarError('INTERNAL', `unknown rule set "${ruleSet}" or list "${list}" from a scorer process`);
}

function lineToWire({ text, confidence, polygon }: TextLine): wire.TextLine {
  const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
  const box = boxToWire([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]);
  return { text, confidence, box, polygon: polygon.map(([x, y]) => ({ x, y })) };
}

function lineFromWire({ text, confidence, polygon }: wire.TextLine): TextLine {
  const [a, b, c, d, ...more] = polygon.map(({ x, y }): TextPoint => [x, y]);
  if (a === undefined || b === undefined || c === undefined || d === undefined || more.length > 0) {
    throw new StarError('INTERNAL', `a line came with ${polygon.length} corners; expected 4`);
  }
  return { text, confidence, polygon: [a, b, c, d] };
}

function matchToWire({ operation, targetIndex, recognizedIndex }: CharacterMatch): wire.CharacterMatch {
  return {
    operation: OPERATIONS[operation],
    targetIndex: targetIndex ?? undefined,
    recognizedIndex: recognizedIndex ?? undefined,
  };
}

function matchFromWire({ operation, targetIndex, recognizedIndex }: wire.CharacterMatch): CharacterMatch {
  const names = Object.keys(OPERATIONS) as CharacterMatch['operation'][];
  const name = names.find((each) => OPERATIONS[each] === operation);
  if (name === undefined) throw new StarError('INTERNAL', `unknown character operation ${operation}`);
  return { operation: name, targetIndex: targetIndex ?? null, recognizedIndex: recognizedIndex ?? null };
}

function boxToWire([left, top, right, bottom]: Box): wire.PixelBox {
  return { left, top, right, bottom };
}

function boxFromWire(box: wire.PixelBox | undefined): Box {
  if (box === undefined) throw new StarError('INTERNAL', 'an object or line came without its box');
  return [box.left, box.top, box.right, box.bottom];
}

function unknownMessage(type: string): StarError {
  return new StarError('INTERNAL', `received a ${type} without content; pool and scorer process differ in version`);
}
