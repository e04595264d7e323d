import { parseArgs } from 'node:util';
import { Dealer, type SocketOptions } from 'zeromq';
import { StarError } from '../../core/errors.js';
import type { ScoreRequest } from '../../pipeline/ports.js';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { decodePng } from '../image/rgb-image.js';
import { loadScorer } from '../load-scorer.js';
import { runtimeInUse } from '../onnx-session.js';
import { failedOutcome, requireFinite, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import { readCurveKeys } from './curve-keys.js';
import { REFUSED_EXIT_CODE } from './scorer-child.js';
import {
  decodePoolMessage,
  encodeProcessMessage,
  MAX_MISSED_BEATS,
  type PoolMessage,
  type ProcessMessage,
} from './scorer-messages.js';
import { REMOTE_BEATS } from './scorer-socket.js';
import { SocketWriter } from './socket-writer.js';

/**
 * Entry point of one scorer process: one bundle, one core, one batch at a time. Started by `ScorerPool`; ends when the pool
 * says so, when its parent dies (standard input closes) or when the pool is silent for too long.
 */

interface Arguments {
  readonly endpoint: string;
  readonly identity: string;
  readonly bundle: string;
  readonly heartbeatMs: number;
  /** CURVE of a process whose pool is on another host; empty on this one. */
  readonly curve: SocketOptions<Dealer>;
}

class ScorerProcess {
  readonly #socket: Dealer;
  readonly #writer: SocketWriter;
  readonly #arguments: Arguments;
  #missedBeats = 0;
  #loading = true;
  #pendingBatches = 0;

  constructor(args: Arguments) {
    this.#arguments = args;
    // linger: an answer that the pool no longer wants must not keep the process alive.
    this.#socket = new Dealer({ routingId: args.identity, linger: 1000, ...args.curve });
    this.#socket.events.on('handshake:error:auth', () =>
      refuse(`the control plane does not know the key of this host, ${args.curve.curvePublicKey}`),
    );
    this.#writer = new SocketWriter(this.#socket);
  }

  async run(): Promise<void> {
    this.#socket.connect(this.#arguments.endpoint);
    const timer = setInterval(() => this.#beat(), this.#arguments.heartbeatMs);
    const scorer = await this.#load();
    if (scorer !== null) {
      await this.#serve(scorer);
      await scorer.close();
    }
    clearInterval(timer);
    await this.#writer.flush();
    this.#socket.close();
  }

  /** Loads the bundle and says so, or says why it cannot be loaded. */
  async #load(): Promise<Scorer | null> {
    try {
      const bundle = await loadScorerBundle(this.#arguments.bundle);
      const scorer = await loadScorer(bundle);
      this.#loading = false;
      const { name, version } = bundle.manifest;
      this.#send({
        kind: 'ready',
        scorer: `${name} ${version}`,
        bundleHash: bundle.bundleHash,
        runtime: scorer.runtime ?? runtimeInUse(),
      });
      return scorer;
    } catch (error) {
      const { reason, message } = StarError.from(error);
      this.#send({ kind: 'loadFailure', failure: { reason, message } });
      return null;
    }
  }

  /** Decodes a batch as soon as it comes, so that this overlaps with the graph runs of the batch before it. */
  async #serve(scorer: Scorer): Promise<void> {
    let work = Promise.resolve();
    for await (const [frame] of this.#socket) {
      this.#missedBeats = 0;
      if (frame === undefined) continue;
      const message = decodePoolMessage(frame);
      if (message.kind === 'refusal') refuse(message.failure.message);
      if (message.kind === 'shutdown') return work;
      if (message.kind !== 'batch') continue;
      const decoded = Promise.all(message.items.map(decodeItem));
      this.#pendingBatches += 1;
      work = work.then(() => this.#answer(scorer, message, decoded));
    }
  }

  async #answer(
    scorer: Scorer,
    { batchId, attempt }: PoolMessage & { kind: 'batch' },
    decoded: Promise<DecodedItem[]>,
  ): Promise<void> {
    const outcomes = await scoreItems(scorer, await decoded);
    this.#pendingBatches -= 1;
    this.#send({ kind: 'result', batchId, attempt, outcomes });
  }

  #beat(): void {
    this.#missedBeats = this.#loading || this.#pendingBatches > 0 ? 0 : this.#missedBeats + 1;
    if (this.#missedBeats > MAX_MISSED_BEATS) exitWith(`the pool was silent for ${this.#missedBeats} heartbeats`);
    this.#send({ kind: 'heartbeat' });
  }

  #send(message: ProcessMessage): void {
    this.#writer.send([encodeProcessMessage(message)], (error) => exitWith(`cannot reach the pool: ${error}`));
  }
}

/** A picture to score, or why it cannot be decoded. */
type DecodedItem = ScorerInput | ScorerOutcome;

/**
 * Scores a batch. A picture that cannot be decoded fails alone; an error of the scorer fails the pictures that it was given.
 *
 * @returns one outcome per item, in order
 */
async function scoreItems(scorer: Scorer, decoded: readonly DecodedItem[]): Promise<ScorerOutcome[]> {
  const inputs = decoded.filter((entry): entry is ScorerInput => !('kind' in entry));
  const scored = (await scoreInputs(scorer, inputs)).map(requireFinite)[Symbol.iterator]();
  return decoded.map((entry) => {
    if ('kind' in entry) return entry;
    const { value } = scored.next();
    return value ?? failedOutcome('INTERNAL', `the scorer answered for fewer than ${inputs.length} pictures`);
  });
}

async function decodeItem(item: ScoreRequest): Promise<DecodedItem> {
  try {
    return { prompt: item.prompt, image: await decodePng(item.image), png: item.image };
  } catch (error) {
    return failureOf(error);
  }
}

async function scoreInputs(scorer: Scorer, inputs: readonly ScorerInput[]): Promise<ScorerOutcome[]> {
  try {
    return await scorer.score(inputs);
  } catch (error) {
    return inputs.map(() => failureOf(error));
  }
}

function failureOf(error: unknown): ScorerOutcome {
  const { reason, message } = StarError.from(error);
  return failedOutcome(reason, message);
}

function exitWith(message: string, code = 1): never {
  process.stderr.write(`scorer process: ${message}\n`);
  process.exit(code);
}

function refuse(message: string): never {
  exitWith(message, REFUSED_EXIT_CODE);
}

async function readArguments(): Promise<Arguments> {
  const option = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      endpoint: option,
      identity: option,
      bundle: option,
      'heartbeat-ms': option,
      'key-file': option,
      'server-key': option,
    },
  });
  const { endpoint, identity, bundle } = values;
  const heartbeatMs = Number(values['heartbeat-ms']);
  if (!endpoint || !identity || !bundle || !(heartbeatMs > 0)) {
    exitWith('expected --endpoint, --identity, --bundle and --heartbeat-ms; it is started by the scorer pool');
  }
  const curve = await readCurve(values['key-file'], values['server-key']);
  return { endpoint, identity, bundle, heartbeatMs, curve };
}

async function readCurve(keyFile: string | undefined, serverKey: string | undefined): Promise<SocketOptions<Dealer>> {
  if (keyFile === undefined || serverKey === undefined) return {};
  const { publicKey, secretKey } = await readCurveKeys(keyFile);
  return { ...REMOTE_BEATS, curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: serverKey };
}

// Standard input is a pipe from the parent: it closes when the parent dies, however that happens.
process.stdin.on('close', () => process.exit(0)).resume();
// Ctrl-C reaches the whole process group; the pool decides when its processes end.
process.on('SIGINT', () => undefined);
await new ScorerProcess(await readArguments()).run();
process.exit(0);
