import { join } from 'node:path';
import { Context } from 'zeromq';
import { StarError } from '../../core/errors.js';
import { CurveGate } from './curve-gate.js';
import { ensureCurveKeys, findAuthorized } from './curve-keys.js';
import type { ProcessMessage } from './scorer-messages.js';
import type { ScorerEventSink } from './scorer-pool-options.js';
import type { ScorerLink } from './scorer-slot.js';
import { ScorerSocket, type ScorerSocketHandlers } from './scorer-socket.js';

const HEARTBEAT_MS = 1000;

/** A scorer process of another host that has loaded its bundle. */
export interface Guest {
  readonly identity: string;
  /** Name and version of its bundle. */
  readonly scorer: string;
  readonly bundleHash: string;
  readonly runtime: string;
  readonly link: ScorerLink;
}

/** A pool that guests can work for. */
export interface GuestPool extends ScorerSocketHandlers {
  readonly scorer: string;
  readonly bundleHash: string;
  /** Takes a guest that runs the same bundle; what it says from now on comes to `onMessage`. */
  adopt(guest: Guest): void;
}

/** Where and how other hosts dial in. */
export interface ScorerHubOptions {
  /** For example `tcp://0.0.0.0:7100`. */
  readonly endpoint: string;
  /** Folder with `server.json`, made when it is missing, and `authorized`: the keys that may dial in (`findAuthorized`). */
  readonly keyFolder: string;
  readonly onEvent: ScorerEventSink;
}

/**
 * Where scorer processes of other hosts dial in, by CURVE only. A guest works for a pool that runs the very same bundle; as long
 * as there is none it waits. A guest whose bundle has the name of a pool's and another hash is refused.
 */
export class ScorerHub implements ScorerSocketHandlers {
  /** Key that hosts check this control plane by, Z85. */
  readonly publicKey: string;
  readonly #options: ScorerHubOptions;
  readonly #pools = new Set<GuestPool>();
  /** All guests with the pool that they work for; null: they wait. */
  readonly #guests = new Map<string, { readonly guest: Guest; pool: GuestPool | null }>();
  #socket: ScorerSocket | null = null;
  #gate: CurveGate | null = null;
  #heartbeat: NodeJS.Timeout | undefined;

  private constructor(options: ScorerHubOptions, publicKey: string) {
    this.#options = options;
    this.publicKey = publicKey;
  }

  /**
   * Listens for other hosts.
   *
   * @throws StarError ARGUMENT_INVALID for an address that cannot be bound, or a key file that others can read
   */
  static async listen(options: ScorerHubOptions): Promise<ScorerHub> {
    const keys = await ensureCurveKeys(join(options.keyFolder, 'server.json'));
    const authorized = join(options.keyFolder, 'authorized');
    const hub = new ScorerHub(options, keys.publicKey);
    // A context of its own: its gate asks for keys here and nowhere else.
    const context = new Context();
    hub.#gate = await CurveGate.open(context, {
      isAllowed: async (key) => (await findAuthorized(authorized, key)) !== null,
      onRefused: (publicKey, address) => options.onEvent('scorer_host_refused', { publicKey, address }),
    });
    hub.#socket = await bind(options.endpoint, { context, keys }, hub);
    hub.#heartbeat = setInterval(() => hub.#beat(), HEARTBEAT_MS);
    return hub;
  }

  /** Address as bound. */
  get endpoint(): string {
    return this.#socket?.endpoint ?? '';
  }

  /** Gives a pool the guests that run its bundle, now and later. @returns ends that; its guests then wait for another pool */
  join(pool: GuestPool): () => void {
    this.#pools.add(pool);
    for (const entry of this.#guests.values()) if (entry.pool === null) this.#place(entry);
    return () => {
      this.#pools.delete(pool);
      for (const entry of this.#guests.values()) if (entry.pool === pool) entry.pool = null;
    };
  }

  /** Ends a guest that its pool cannot use any more; its host starts it again. */
  dismiss(identity: string): void {
    if (this.#guests.delete(identity)) this.#socket?.send(identity, { kind: 'shutdown' });
  }

  /** Stops listening; processes of other hosts end, and their hosts dial again. */
  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    for (const identity of this.#guests.keys()) this.#socket?.send(identity, { kind: 'shutdown' });
    await this.#socket?.close();
    await this.#gate?.close();
  }

  onMessage(identity: string, message: ProcessMessage): void {
    const entry = this.#guests.get(identity);
    if (message.kind === 'ready') this.#welcome(identity, message);
    else if (entry?.pool) entry.pool.onMessage(identity, message);
    // One that was known to a control plane before this one: it starts again and says what it has.
    else if (entry === undefined && message.kind !== 'loadFailure') this.#socket?.send(identity, { kind: 'shutdown' });
  }

  onBroken(identity: string, error: unknown): void {
    const entry = this.#guests.get(identity);
    if (entry === undefined) return;
    this.#guests.delete(identity);
    this.#event('scorer_guest_left', entry.guest);
    entry.pool?.onBroken(identity, error);
  }

  #welcome(identity: string, { scorer, bundleHash, runtime }: ProcessMessage & { kind: 'ready' }): void {
    const link: ScorerLink = { send: (to, message) => this.#socket?.send(to, message) };
    const entry = { guest: { identity, scorer, bundleHash, runtime, link }, pool: null };
    this.#guests.set(identity, entry);
    this.#event('scorer_guest_arrived', entry.guest);
    this.#place(entry);
  }

  #place(entry: { readonly guest: Guest; pool: GuestPool | null }): void {
    const { guest } = entry;
    const pool = [...this.#pools].find(({ bundleHash }) => bundleHash === guest.bundleHash);
    if (pool !== undefined) {
      entry.pool = pool;
      pool.adopt(guest);
      return;
    }
    const namesake = [...this.#pools].find(({ scorer }) => nameOf(scorer) === nameOf(guest.scorer));
    if (namesake !== undefined) this.#refuse(guest, namesake);
  }

  #refuse(guest: Guest, { scorer, bundleHash }: GuestPool): void {
    const message =
      `the bundle of this host is ${guest.scorer} with hash ${guest.bundleHash}; the control plane runs ${scorer} with hash ` +
      `${bundleHash}: copy its bundle folder to this host`;
    this.#guests.delete(guest.identity);
    this.#event('scorer_guest_refused', guest);
    guest.link.send(guest.identity, { kind: 'refusal', failure: { reason: 'SCORER_NOT_LOADABLE', message } });
  }

  /** Waiting guests are kept alive here, working ones by their pool. */
  #beat(): void {
    for (const [identity, { pool }] of this.#guests) {
      if (pool === null) this.#socket?.send(identity, { kind: 'heartbeat' });
    }
  }

  #event(name: string, { identity, scorer, bundleHash, runtime }: Guest): void {
    this.#options.onEvent(name, { identity, scorer, bundleHash, runtime });
  }
}

async function bind(...[endpoint, ...rest]: Parameters<typeof ScorerSocket.bindCurve>): Promise<ScorerSocket> {
  try {
    return await ScorerSocket.bindCurve(endpoint, ...rest);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StarError('ARGUMENT_INVALID', `cannot listen for scorer hosts at ${endpoint}: ${why}`, {}, error);
  }
}

function nameOf(scorer: string): string {
  return scorer.split(' ')[0] ?? scorer;
}
