import { once } from 'node:events';
import { type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import type { ErrorReason } from '../src/gen/star/v1/error_reason.js';
import type { RolloutChunk, RolloutGroup, RolloutTaskHeader } from '../src/gen/star/v1/rollout.js';
import { DataType } from '../src/gen/star/v1/tensor.js';
import type { LossMask } from '../src/gen/star/v1/update.js';
import {
  type ConnectRequest,
  type ConnectResponse,
  type SubmitRolloutsRequest,
  type SubmitRolloutsResponse,
  type TaskCompleted,
  type TaskOffer,
  WorkerServiceClient,
} from '../src/gen/star/v1/worker_service.js';
import { PROTOCOL_VERSION } from '../src/rpc/protocol-version.js';

type Message = NonNullable<ConnectResponse['message']>;
type Value<Case> = Extract<Message, { $case: Case }>['value'];

/** A worker over real gRPC that does exactly what a test tells it. */
export class ScriptedWorker {
  readonly client: WorkerServiceClient;
  readonly stream: ClientDuplexStream<ConnectRequest, ConnectResponse>;
  /** Resolves with the error that ended the control stream. */
  readonly failure: Promise<ServiceError>;
  readonly #inbox: Message[] = [];
  #wake: () => void = () => undefined;

  constructor(port: number, hello: { workerId?: string; protocolVersion?: number } = {}) {
    this.client = new WorkerServiceClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': 16 * 1024 * 1024,
      'grpc-node.flow_control_window': 2 * 1024 * 1024,
    });
    this.stream = this.client.connect();
    const failure = Promise.withResolvers<ServiceError>();
    this.failure = failure.promise;
    this.stream.on('error', (error: ServiceError) => failure.resolve(error));
    this.stream.on('data', ({ message }: ConnectResponse) => {
      if (message !== undefined) this.#inbox.push(message);
      this.#wake();
    });
    const defaults = { protocolVersion: PROTOCOL_VERSION, workerId: 'w1', device: 'cpu', softwareVersion: '0' };
    this.send({ $case: 'hello', value: { ...defaults, ...hello } });
  }

  send(message: NonNullable<ConnectRequest['message']>): void {
    this.stream.write({ message });
  }

  /** The next message of a kind; others before it are an error. */
  async next<Case extends Message['$case']>(expected: Case): Promise<Value<Case>> {
    while (this.#inbox.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const message = this.#inbox.shift() as Message;
    if (message.$case !== expected) throw new Error(`expected ${expected}, received ${message.$case}`);
    return message.value as Value<Case>;
  }

  heartbeat(offer: TaskOffer): void {
    this.send({ $case: 'heartbeat', value: { taskId: offer.taskId, leaseToken: offer.leaseToken } });
  }

  complete(offer: TaskOffer, policyVersion: number, result: TaskCompleted['result'] = undefined): void {
    const { taskId, leaseToken } = offer;
    this.send({ $case: 'completed', value: { taskId, leaseToken, policyVersion: BigInt(policyVersion), result } });
  }

  fail(offer: TaskOffer, reason: ErrorReason, message: string): void {
    const { taskId, leaseToken } = offer;
    this.send({ $case: 'failed', value: { taskId, leaseToken, reason, message } });
  }

  /** Answers a prepare offer as the small world's model of 2 x 2 image tokens. */
  async prepare(): Promise<TaskOffer> {
    const offer = await this.next('offer');
    const value = {
      trainableParameterCount: 10n,
      parameterCount: 100n,
      tokenRows: 2,
      tokenColumns: 2,
      valuesPerToken: 4,
      environment: { torch: 'test' },
    };
    this.complete(offer, Number(offer.policyVersion), { $case: 'prepare', value });
    return offer;
  }

  async fetchRolloutTask(offer: TaskOffer): Promise<{ header: RolloutTaskHeader; groups: RolloutGroup[] }> {
    const groups: RolloutGroup[] = [];
    let header: RolloutTaskHeader | undefined;
    for await (const { chunk } of this.client.fetchRolloutTask(proof(offer))) {
      if (chunk.part.$case === 'header') header = chunk.part.value;
      else groups.push(chunk.part.value);
    }
    if (header === undefined) throw new Error('no header');
    return { header, groups };
  }

  /** Sends chunks as one SubmitRollouts stream, obeying backpressure. Rejects with the ServiceError of the call. */
  async submit(chunks: Iterable<RolloutChunk['part']>): Promise<SubmitRolloutsResponse> {
    const result = Promise.withResolvers<SubmitRolloutsResponse>();
    const call = this.client.submitRollouts((error, response) =>
      error === null ? result.resolve(response) : result.reject(error),
    );
    result.promise.catch(() => call.end());
    for (const part of chunks) {
      const message: SubmitRolloutsRequest = { chunk: { part } };
      if (!call.write(message)) await Promise.race([once(call, 'drain'), result.promise.catch(() => undefined)]);
    }
    call.end();
    return result.promise;
  }

  async fetchLossMasks(offer: TaskOffer): Promise<LossMask[]> {
    const masks: LossMask[] = [];
    for await (const { chunk } of this.client.fetchLossMasks(proof(offer))) masks.push(...(chunk?.masks ?? []));
    return masks;
  }

  /** Breaks the connection as a killed process does. */
  kill(): void {
    this.stream.cancel();
    this.client.close();
  }
}

export function proof(offer: TaskOffer): { taskId: string; leaseToken: string } {
  return { taskId: offer.taskId, leaseToken: offer.leaseToken };
}

/** Echo of an honest worker. */
export function echo(offer: TaskOffer, header: RolloutTaskHeader): RolloutChunk['part'] {
  const { attempt, policyVersion } = offer;
  return { $case: 'echo', value: { ...proof(offer), attempt, policyVersion, sigmas: header.sigmas } };
}

/** Result and picture (3 bytes in two pieces) of an honest worker, with constant attention 1 of 2 x 2 tokens. */
export function rolloutParts(group: RolloutGroup, index: number): RolloutChunk['part'][] {
  const spec = group.rollouts[index];
  if (spec === undefined) throw new Error(`no rollout ${index}`);
  const steps = group.attentionMasks;
  const concepts = steps[0]?.conceptIndexes.length ?? 0;
  const planes = steps.length * concepts;
  const attention = {
    values: {
      dataType: DataType.DATA_TYPE_UINT8,
      shape: [steps.length, concepts, 2, 2],
      data: new Uint8Array(planes * 4),
    },
    scales: new Array<number>(planes).fill(0),
    offsets: new Array<number>(planes).fill(1),
    stepIndexes: steps.map((mask) => mask.stepIndex),
    unmappedConceptIndexes: [],
  };
  const { rolloutId, seed } = spec;
  return [
    {
      $case: 'result',
      value: {
        rolloutId,
        seed,
        promptHash: group.promptHash,
        attention: planes === 0 ? undefined : attention,
        imageByteCount: 3,
      },
    },
    { $case: 'image', value: { rolloutId, offset: 0, data: Uint8Array.of(1, 2) } },
    { $case: 'image', value: { rolloutId, offset: 2, data: Uint8Array.of(index) } },
  ];
}
