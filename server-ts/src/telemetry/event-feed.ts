/** Something that happened, as live views receive it. */
export interface FeedEvent {
  /** Rises by one with every event of this process, from 1. */
  readonly id: number;
  /** Null: not about one run. */
  readonly runId: string | null;
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Events kept for subscribers that come back after a broken connection. */
const KEPT_EVENTS = 2_000;

/**
 * Events of this process in memory, newest `kept` of them. Subscribers get what they missed, then what follows. A listener
 * that throws is dropped: telemetry never stops a run.
 */
export class EventFeed {
  private readonly events: FeedEvent[] = [];
  private readonly listeners = new Set<(event: FeedEvent) => void>();
  private lastId = 0;

  constructor(private readonly kept: number = KEPT_EVENTS) {}

  /** Adds an event and hands it to every subscriber. */
  publish(runId: string | null, name: string, fields: Readonly<Record<string, unknown>>): void {
    this.lastId += 1;
    const event: FeedEvent = { id: this.lastId, runId, name, fields };
    this.events.push(event);
    if (this.events.length > this.kept) this.events.shift();
    for (const listener of this.listeners) this.deliver(listener, event);
  }

  /**
   * Calls `listener` for the kept events of the run with an id above `afterId`, then for new ones.
   *
   * @param runId null: events of all runs
   * @returns function that ends the subscription
   */
  subscribe(runId: string | null, afterId: number, listener: (event: FeedEvent) => void): () => void {
    const wanted = (event: FeedEvent): void => {
      if (runId === null || event.runId === runId) listener(event);
    };
    for (const event of this.events) if (event.id > afterId) wanted(event);
    this.listeners.add(wanted);
    return () => this.listeners.delete(wanted);
  }

  private deliver(listener: (event: FeedEvent) => void, event: FeedEvent): void {
    try {
      listener(event);
    } catch {
      this.listeners.delete(listener);
    }
  }
}
