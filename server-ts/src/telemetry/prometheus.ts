import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Runs whose series are kept; the oldest goes when there are more, so that labels stay bounded. */
const KEPT_RUNS = 20;

/** Upper bounds of the phase histogram, seconds. */
const PHASE_BUCKETS_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000];

/**
 * Prometheus series of the control plane. Names and units:
 *
 * | name | kind | labels | unit |
 * |---|---|---|---|
 * | `star_iteration` | gauge | run_id | last committed iteration |
 * | `star_run_metric` | gauge | run_id, name | last value of a metric of docs/metrics.md, in its own unit |
 * | `star_phase_seconds` | histogram | phase | seconds |
 * | `star_events_total` | counter | event | events |
 * | `star_worker_connected` | gauge | - | 1 or 0 |
 */
export class PrometheusMetrics {
  private readonly registry = new Registry();
  private readonly runs: string[] = [];
  private readonly names = new Map<string, Set<string>>();
  private readonly iteration: Gauge<'run_id'>;
  private readonly runMetric: Gauge<'run_id' | 'name'>;
  private readonly phaseSeconds: Histogram<'phase'>;
  private readonly eventsTotal: Counter<'event'>;

  /** @param workerConnected read at every scrape */
  constructor(workerConnected: () => boolean) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.iteration = new Gauge({
      name: 'star_iteration',
      help: 'Last committed iteration of a run',
      labelNames: ['run_id'],
      registers,
    });
    this.runMetric = new Gauge({
      name: 'star_run_metric',
      help: 'Last value of a metric of a run, in the unit given in docs/metrics.md',
      labelNames: ['run_id', 'name'],
      registers,
    });
    this.phaseSeconds = new Histogram({
      name: 'star_phase_seconds',
      help: 'Seconds that a phase of an iteration took',
      labelNames: ['phase'],
      buckets: PHASE_BUCKETS_SECONDS,
      registers,
    });
    this.eventsTotal = new Counter({
      name: 'star_events_total',
      help: 'Events by name',
      labelNames: ['event'],
      registers,
    });
    const connected: Gauge = new Gauge({
      name: 'star_worker_connected',
      help: '1 while a training worker is connected',
      registers,
      collect: () => connected.set(workerConnected() ? 1 : 0),
    });
  }

  /** Counts an event. */
  countEvent(name: string): void {
    this.eventsTotal.inc({ event: name });
  }

  /** Observes the duration of a phase. */
  observePhase(phase: string, seconds: number): void {
    this.phaseSeconds.observe({ phase }, seconds);
  }

  /** Sets the metrics of an iteration; values that are not finite are left out. */
  setIteration(runId: string, iteration: number, values: Readonly<Record<string, number>>): void {
    this.remember(runId);
    this.iteration.set({ run_id: runId }, iteration);
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) continue;
      this.names.get(runId)?.add(name);
      this.runMetric.set({ run_id: runId, name }, value);
    }
  }

  /** The exposition text with its content type. */
  async expose(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }

  private remember(runId: string): void {
    if (this.names.has(runId)) return;
    this.names.set(runId, new Set());
    this.runs.push(runId);
    const oldest = this.runs.length > KEPT_RUNS ? this.runs.shift() : undefined;
    if (oldest === undefined) return;
    this.iteration.remove({ run_id: oldest });
    for (const name of this.names.get(oldest) ?? []) this.runMetric.remove({ run_id: oldest, name });
    this.names.delete(oldest);
  }
}
