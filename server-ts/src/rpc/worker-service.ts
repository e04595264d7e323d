import type { ServerDuplexStream, ServerReadableStream, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js';
import { StarError } from '../core/errors.js';
import type {
  ConnectRequest,
  ConnectResponse,
  FetchLossMasksRequest,
  FetchLossMasksResponse,
  FetchRolloutTaskRequest,
  FetchRolloutTaskResponse,
  Hello,
  SubmitRolloutsRequest,
  SubmitRolloutsResponse,
  WorkerServiceServer,
} from '../gen/star/v1/worker_service.js';
import { type LogInternalError, toGrpcStatus } from './error-mapping.js';
import { lossMaskChunks } from './loss-mask-stream.js';
import { toTaskHeader, toWireGroup } from './message-mapping.js';
import { PROTOCOL_VERSION } from './protocol-version.js';
import { RolloutIntake } from './rollout-intake.js';
import type { WorkerTrainer } from './trainer.js';
import type { WorkerConnection } from './worker-connection.js';
import type { WorkerTask } from './worker-task.js';

type ControlStream = ServerDuplexStream<ConnectRequest, ConnectResponse>;

export interface WorkerServiceOptions {
  readonly trainer: WorkerTrainer;
  /** Source of ids for internal errors. */
  readonly newId: () => string;
  readonly log: LogInternalError;
}

/** The gRPC handlers: streams in, streams out; decisions are the trainer's. */
export function createWorkerService({ trainer, newId, log }: WorkerServiceOptions): WorkerServiceServer {
  const statusOf = (error: unknown): ReturnType<typeof toGrpcStatus> => toGrpcStatus(error, newId, log);
  return {
    connect: (call: ControlStream) => serveControlStream(call, trainer, statusOf),
    fetchRolloutTask: (call: ServerWritableStream<FetchRolloutTaskRequest, FetchRolloutTaskResponse>) =>
      settle(call, statusOf, sendRolloutTask(call, trainer)),
    submitRollouts: (
      call: ServerReadableStream<SubmitRolloutsRequest, SubmitRolloutsResponse>,
      respond: sendUnaryData<SubmitRolloutsResponse>,
    ) => {
      receiveRollouts(call, trainer).then(
        (response) => respond(null, response),
        (error: unknown) => respond(statusOf(error)),
      );
    },
    fetchLossMasks: (call: ServerWritableStream<FetchLossMasksRequest, FetchLossMasksResponse>) =>
      settle(call, statusOf, sendLossMasks(call, trainer)),
  };
}

function settle(
  call: { end(): void; emit(name: 'error', error: Error): boolean },
  statusOf: (error: unknown) => Error,
  work: Promise<void>,
): void {
  work.then(
    () => call.end(),
    (error: unknown) => call.emit('error', statusOf(error)),
  );
}

function serveControlStream(call: ControlStream, trainer: WorkerTrainer, statusOf: (error: unknown) => Error): void {
  let connection: WorkerConnection | null = null;
  const leave = (cause: string): void => {
    if (connection !== null) trainer.disconnect(connection, cause);
  };
  const fail = (error: unknown): void => {
    leave(StarError.from(error).message);
    call.emit('error', statusOf(error));
  };
  call.on('data', ({ message }: ConnectRequest) => {
    try {
      if (connection === null) connection = welcome(call, message, trainer, fail);
      else trainer.receive(connection, message);
    } catch (error) {
      fail(error);
    }
  });
  call.on('cancelled', () => leave('the connection broke'));
  call.on('error', (error: Error) => leave(error.message));
  call.on('end', () => {
    leave('the worker closed its control stream');
    call.end();
  });
}

function welcome(
  call: ControlStream,
  message: ConnectRequest['message'],
  trainer: WorkerTrainer,
  fail: (error: unknown) => void,
): WorkerConnection {
  if (message?.$case !== 'hello') throw new StarError('ARGUMENT_INVALID', 'the first message must be hello');
  assertProtocolVersion(message.value);
  const { workerId, device } = message.value;
  const connection: WorkerConnection = {
    workerId,
    device,
    send: (answer) => {
      call.write({ message: answer });
    },
    close: (error) => {
      if (error === undefined) call.end();
      else fail(error);
    },
  };
  trainer.connect(connection);
  connection.send({ $case: 'welcome', value: { heartbeatIntervalMs: trainer.heartbeatIntervalMs } });
  return connection;
}

function assertProtocolVersion({ protocolVersion, workerId, softwareVersion }: Hello): void {
  if (protocolVersion === PROTOCOL_VERSION) return;
  throw new StarError(
    'PROTOCOL_VERSION_MISMATCH',
    `expected protocol version ${PROTOCOL_VERSION}, received ${protocolVersion} from worker ${workerId} ` +
      `(star_worker ${softwareVersion}); install the same version on both sides`,
  );
}

async function sendRolloutTask(
  call: ServerWritableStream<FetchRolloutTaskRequest, FetchRolloutTaskResponse>,
  trainer: WorkerTrainer,
): Promise<void> {
  const { work } = trainer.leasedTask(call.request.taskId, call.request.leaseToken);
  if (work.kind !== 'rollout') {
    throw new StarError('STATE_CONFLICT', `task ${call.request.taskId} is of kind ${work.kind}, expected rollout`);
  }
  await send(call, { chunk: { part: { $case: 'header', value: toTaskHeader(work.plan) } } });
  for (const group of work.plan.groups) {
    await send(call, { chunk: { part: { $case: 'group', value: toWireGroup(group) } } });
  }
}

async function receiveRollouts(
  call: ServerReadableStream<SubmitRolloutsRequest, SubmitRolloutsResponse>,
  trainer: WorkerTrainer,
): Promise<SubmitRolloutsResponse> {
  const intake = new RolloutIntake((taskId, token) => trainer.leasedTask(taskId, token));
  try {
    return await intake.read(call as AsyncIterable<SubmitRolloutsRequest>);
  } catch (error) {
    // A broken stream may come again with the same lease; anything else is the end of the task.
    if (!call.cancelled) abandon(intake.task, trainer, error);
    throw error;
  }
}

async function sendLossMasks(
  call: ServerWritableStream<FetchLossMasksRequest, FetchLossMasksResponse>,
  trainer: WorkerTrainer,
): Promise<void> {
  const task = trainer.leasedTask(call.request.taskId, call.request.leaseToken);
  try {
    for await (const masks of lossMaskChunks(task)) await send(call, { chunk: { masks } });
  } catch (error) {
    abandon(task, trainer, error);
    throw error;
  }
}

function abandon(task: WorkerTask | null, trainer: WorkerTrainer, error: unknown): void {
  if (task !== null) trainer.abandon(task, StarError.from(error));
}

/** Writes one message; waits while the reader is slow. @throws StarError WORKER_LOST when it went away */
async function send<Message>(call: ServerWritableStream<unknown, Message>, message: Message): Promise<void> {
  if (!call.cancelled && call.write(message)) return;
  if (!call.cancelled) await drained(call);
  if (call.cancelled) throw new StarError('WORKER_LOST', 'the worker cancelled the stream');
}

async function drained(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      call.off('cancelled', done);
      resolve();
    };
    call.on('drain', done);
    call.on('cancelled', done);
  });
}
