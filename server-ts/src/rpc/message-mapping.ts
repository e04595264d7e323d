import { StarError } from '../core/errors.js';
import type {
  AttentionMaps,
  ExportOutcome,
  LossMask,
  PreparedModel,
  RolloutGroup,
  RolloutPlan,
  RolloutSpec,
  UpdateOutcome,
} from '../core/types.js';
import type {
  RolloutResult,
  RolloutTaskEcho,
  RolloutTaskHeader,
  AttentionMaps as WireAttentionMaps,
  RolloutGroup as WireGroup,
} from '../gen/star/v1/rollout.js';
import { DataType } from '../gen/star/v1/tensor.js';
import type { LossMask as WireLossMask } from '../gen/star/v1/update.js';
import type { TaskCompleted } from '../gen/star/v1/worker_service.js';
import { assertWireTensor, decodeFloat16, decodePlanes, encodeAllocationMaps, encodeFloat32 } from './tensor-codec.js';

/** Number format of attention and maps, as in the recipe. */
export type WireFormat = 'uint8' | 'float16';

/** What a rollout must come back with. */
export interface ExpectedRollout {
  readonly spec: RolloutSpec;
  readonly group: RolloutGroup;
  /** Rows and columns of image tokens. */
  readonly tokens: readonly [number, number];
  readonly wire: WireFormat;
}

/** Header of a rollout task. */
export function toTaskHeader(plan: RolloutPlan): RolloutTaskHeader {
  return {
    groupCount: plan.groups.length,
    sigmas: [...plan.sigmas],
    windowStart: plan.windowStart,
    windowSize: plan.windowSize,
    keepTrajectory: plan.keepTrajectory,
  };
}

/** A group with one attention mask per captured step, each over all concepts. */
export function toWireGroup(group: RolloutGroup): WireGroup {
  const conceptIndexes = group.coreContent.concepts.map((_, index) => index);
  return {
    promptIndex: group.promptIndex,
    prompt: group.prompt.prompt,
    promptHash: group.promptHash,
    rollouts: group.rollouts.map((spec) => ({ ...spec })),
    coreSpans: group.coreContent.spans.map((span) => ({ ...span })),
    attentionMasks: capturedSteps(group).map((stepIndex) => ({ stepIndex, conceptIndexes })),
  };
}

/** Steps whose attention comes back: none where the prompt has no concept. */
function capturedSteps(group: RolloutGroup): readonly number[] {
  return group.coreContent.concepts.length === 0 ? [] : group.captureSteps;
}

/**
 * Checks that the worker did what it was asked for.
 *
 * @throws StarError TASK_ECHO_MISMATCH when schedule, attempt or policy version differ
 */
export function assertEcho(
  echo: RolloutTaskEcho,
  plan: RolloutPlan,
  lease: { attempt: number; policyVersion: number },
): void {
  assertEqual('policy version', lease.policyVersion, Number(echo.policyVersion));
  assertEqual('attempt', lease.attempt, echo.attempt);
  assertEqual('sigmas', plan.sigmas.join(', '), echo.sigmas.join(', '));
}

/**
 * A rollout's result without its picture, checked against its spec.
 *
 * @returns its attention, float32 [S, J, h, w]; null where nothing was captured
 * @throws StarError TASK_ECHO_MISMATCH (id, seed, prompt, steps), TENSOR_INVALID (attention)
 */
export function fromRolloutResult(result: RolloutResult, expected: ExpectedRollout): AttentionMaps | null {
  const { spec, group } = expected;
  assertEqual('rollout id', spec.rolloutId, result.rolloutId);
  assertEqual(`seed of rollout ${spec.rolloutId}`, spec.seed, result.seed);
  assertEqual(`prompt hash of rollout ${spec.rolloutId}`, group.promptHash, result.promptHash);
  const steps = capturedSteps(group);
  assertEqual(`attention of rollout ${spec.rolloutId} present`, steps.length > 0, result.attention !== undefined);
  if (result.attention === undefined) return null;
  assertEqual(`captured steps of rollout ${spec.rolloutId}`, steps.join(), result.attention.stepIndexes.join());
  return fromWireAttention(result.attention, expected);
}

function fromWireAttention(attention: WireAttentionMaps, expected: ExpectedRollout): AttentionMaps {
  const name = `attention of rollout ${expected.spec.rolloutId}`;
  const conceptCount = expected.group.coreContent.concepts.length;
  const shape = [attention.stepIndexes.length, conceptCount, ...expected.tokens];
  const values = decodeAttention(attention, expected.wire, name, shape);
  if (!values.data.every((value) => value >= 0 && value < Number.POSITIVE_INFINITY)) {
    throw new StarError('TENSOR_INVALID', `${name}: expected finite values >= 0, received others`);
  }
  const unmapped = attention.unmappedConceptIndexes;
  if (!unmapped.every((index) => index >= 0 && index < conceptCount)) {
    throw new StarError('TENSOR_INVALID', `${name}: unmapped concepts [${unmapped}] of ${conceptCount}`);
  }
  return { values, stepIndexes: attention.stepIndexes, unmappedConcepts: unmapped };
}

function decodeAttention(
  attention: WireAttentionMaps,
  wire: WireFormat,
  name: string,
  shape: readonly number[],
): AttentionMaps['values'] {
  if (attention.values === undefined) throw new StarError('TENSOR_INVALID', `${name}: no values`);
  const type = wire === 'uint8' ? DataType.DATA_TYPE_UINT8 : DataType.DATA_TYPE_FLOAT16;
  assertWireTensor(attention.values, name, type, shape);
  if (wire === 'float16') return decodeFloat16(attention.values);
  return decodePlanes({ tensor: attention.values, scales: attention.scales, offsets: attention.offsets }, name);
}

/** A loss mask; its maps as bytes with a scale per step, or as float32 where the recipe asks for float16 attention. */
export function toWireLossMask(mask: LossMask, wire: WireFormat): WireLossMask {
  const coded = codeMaps(mask.allocationMaps, wire);
  return {
    rolloutId: mask.rolloutId,
    advantage: mask.advantage ?? undefined,
    allocationMaps: coded.tensor,
    scales: coded.scales,
    stepIndexes: [...mask.stepIndexes],
  };
}

function codeMaps(
  maps: LossMask['allocationMaps'],
  wire: WireFormat,
): { tensor: WireLossMask['allocationMaps']; scales: number[] } {
  if (maps === null) return { tensor: undefined, scales: [] };
  return wire === 'uint8' ? encodeAllocationMaps(maps) : { tensor: encodeFloat32(maps), scales: [] };
}

/**
 * Result of a prepare task.
 *
 * @throws StarError TASK_ECHO_MISMATCH for another kind of result or policy version
 */
export function fromPrepareCompleted(completed: TaskCompleted, policyVersion: number): PreparedModel {
  const result = completed.result;
  if (result?.$case !== 'prepare') throw wrongResult('prepare', result?.$case);
  assertEqual('policy version', policyVersion, Number(completed.policyVersion));
  const { value } = result;
  return {
    policyVersion,
    trainableParameterCount: Number(value.trainableParameterCount),
    parameterCount: Number(value.parameterCount),
    tokenRows: positive('token rows', value.tokenRows),
    tokenColumns: positive('token columns', value.tokenColumns),
    valuesPerToken: positive('values per token', value.valuesPerToken),
    environment: value.environment,
  };
}

/**
 * Result of an update task.
 *
 * @param policyVersion version that the update started from
 * @throws StarError TASK_ECHO_MISMATCH for another kind of result or version; NOT_FINITE for a metric that is not finite
 */
export function fromUpdateCompleted(completed: TaskCompleted, policyVersion: number): UpdateOutcome {
  const result = completed.result;
  if (result?.$case !== 'update') throw wrongResult('update', result?.$case);
  assertEqual('policy version', policyVersion + 1, Number(completed.policyVersion));
  const { metrics, checkpointWritten, checkpointPath } = result.value;
  return {
    policyVersion: policyVersion + 1,
    metrics: finite(metrics?.values ?? {}),
    seconds: finite(metrics?.seconds ?? {}),
    checkpointWritten,
    checkpointPath,
  };
}

/**
 * Result of an export task.
 *
 * @throws StarError TASK_ECHO_MISMATCH for another kind of result
 */
export function fromExportCompleted(completed: TaskCompleted): ExportOutcome {
  const result = completed.result;
  if (result?.$case !== 'export') throw wrongResult('export', result?.$case);
  return { path: result.value.path, format: result.value.format };
}

function wrongResult(expected: string, received: string | undefined): StarError {
  return new StarError('TASK_ECHO_MISMATCH', `expected a result of kind ${expected}, received ${received ?? 'none'}`);
}

function assertEqual<Value extends string | number | bigint | boolean>(
  name: string,
  expected: Value,
  received: Value,
): void {
  if (expected !== received) {
    throw new StarError('TASK_ECHO_MISMATCH', `${name}: expected ${expected}, received ${received}`);
  }
}

function positive(name: string, value: number): number {
  if (value < 1) throw new StarError('TASK_ECHO_MISMATCH', `${name}: expected at least 1, received ${value}`);
  return value;
}

function finite(values: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isFinite(value)) throw new StarError('NOT_FINITE', `metric ${name} of the update is ${value}`);
  }
  return values;
}
