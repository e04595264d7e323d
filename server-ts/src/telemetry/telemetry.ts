import type { Telemetry } from '../pipeline/ports.js';
import type { EventFeed } from './event-feed.js';
import type { Log } from './log.js';
import type { PrometheusMetrics } from './prometheus.js';

type EventFields = Readonly<Record<string, string | number | boolean | null>>;

/** Events that come many times a second: logged at level debug. */
const FREQUENT = /progress|heartbeat/;

function level(name: string): 'debug' | 'info' | 'warn' | 'error' {
  if (FREQUENT.test(name)) return 'debug';
  if (/failed|lost|refused/.test(name)) return 'warn';
  return 'info';
}

/** Telemetry port: every event and every metric goes to the log, to Prometheus and to the live feed. Never throws. */
export class FanOutTelemetry implements Telemetry {
  constructor(
    private readonly log: Log,
    private readonly prometheus: PrometheusMetrics,
    private readonly feed: EventFeed,
  ) {}

  event(name: string, fields: EventFields): void {
    this.guard(() => {
      this.log[level(name)](fields, name);
      this.prometheus.countEvent(name);
      if (typeof fields.phase === 'string' && typeof fields.seconds === 'number') {
        this.prometheus.observePhase(fields.phase, fields.seconds);
      }
      this.feed.publish(typeof fields.runId === 'string' ? fields.runId : null, name, fields);
    });
  }

  metrics(runId: string, iteration: number, values: Readonly<Record<string, number>>): void {
    this.guard(() => {
      this.prometheus.setIteration(runId, iteration, values);
      this.feed.publish(runId, 'metrics', { iteration, values });
      this.log.info({ runId, iteration, ...values }, 'metrics');
    });
  }

  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.log.error({ error: String(error) }, 'telemetry failed');
    }
  }
}
