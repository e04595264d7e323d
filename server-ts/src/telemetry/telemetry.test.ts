import { describe, expect, it } from 'vitest';
import { EventFeed, type FeedEvent } from './event-feed.js';
import { createLog } from './log.js';
import { PrometheusMetrics } from './prometheus.js';
import { FanOutTelemetry } from './telemetry.js';

function build(): {
  telemetry: FanOutTelemetry;
  lines: string[];
  prometheus: PrometheusMetrics;
  seen: FeedEvent[];
} {
  const lines: string[] = [];
  const seen: FeedEvent[] = [];
  const feed = new EventFeed();
  feed.subscribe('r1', 0, (event) => seen.push(event));
  const prometheus = new PrometheusMetrics(() => true);
  return {
    telemetry: new FanOutTelemetry(createLog({ write: (l) => lines.push(l) }), prometheus, feed),
    lines,
    prometheus,
    seen,
  };
}

describe('FanOutTelemetry', () => {
  it('hands an event to log, Prometheus and feed', async () => {
    const { telemetry, lines, prometheus, seen } = build();
    telemetry.event('phase_finished', { runId: 'r1', iteration: 2, phase: 'rollout', seconds: 2 });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ runId: 'r1', iteration: 2, msg: 'phase_finished' });
    expect(seen.map((event) => event.name)).toEqual(['phase_finished']);
    const { text } = await prometheus.expose();
    expect(text).toContain('star_events_total{event="phase_finished"} 1');
    expect(text).toContain('star_phase_seconds_bucket{le="3",phase="rollout"} 1');
    expect(text).toContain('star_worker_connected 1');
  });

  it('exposes the last metrics of a run and leaves out what is not finite', async () => {
    const { telemetry, prometheus } = build();
    telemetry.metrics('r1', 0, { 'reward/mean': 0.5 });
    telemetry.metrics('r1', 1, { 'reward/mean': 0.75, broken: Number.NaN });
    const { text } = await prometheus.expose();
    expect(text).toContain('star_iteration{run_id="r1"} 1');
    expect(text).toContain('star_run_metric{run_id="r1",name="reward/mean"} 0.75');
    expect(text).not.toContain('broken');
  });

  it('forgets the series of the oldest run', async () => {
    const { telemetry, prometheus } = build();
    for (let run = 0; run < 21; run += 1) telemetry.metrics(`run-${run}`, 0, { 'reward/mean': run });
    const { text } = await prometheus.expose();
    expect(text).not.toContain('run_id="run-0"');
    expect(text).toContain('run_id="run-20"');
  });
});
