import { ADVANTAGE_EPSILON } from './advantages.js';
import { type ComponentGroups, mean, reportedValues } from './component-metrics.js';
import { kendallCorrelation } from './rank-correlation.js';

/** What a monitor does when its reading goes beyond the threshold. */
export type MonitorAction = 'warn' | 'hold' | 'stop';

/** A watch over one component of the reward. */
export type RewardMonitor = {
  readonly component: string;
  /** Iterations that a reading is taken over, >= 1. */
  readonly window: number;
  readonly threshold: number;
  readonly action: MonitorAction;
} & (
  | { readonly kind: 'drift' | 'saturation' | 'missing' }
  | { readonly kind: 'disagreement'; readonly against: string }
);

/** Metrics by iteration, from 0; an absent name or entry could not be computed. */
export type MetricHistory = readonly Readonly<Record<string, number>>[];

/** A monitor whose reading went beyond its threshold in the last iteration of a history. */
export interface MonitorAlarm {
  readonly monitor: RewardMonitor;
  readonly reading: number;
}

/** Metric that holds the readings of a monitor. */
export function monitorMetric(monitor: RewardMonitor): string {
  const name = `monitor_${monitor.component}_${monitor.kind}`;
  return monitor.kind === 'disagreement' ? `${name}_${monitor.against}` : name;
}

/** Rank correlations that disagreement monitors read, as metrics of one iteration. */
export function correlationMetrics(
  components: ComponentGroups,
  monitors: readonly RewardMonitor[],
): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const monitor of monitors) {
    if (monitor.kind !== 'disagreement') continue;
    const { component, against } = monitor;
    const value = groupCorrelation(components, component, against);
    if (value !== null) metrics[correlationName(component, against)] = value;
  }
  return metrics;
}

/** Mean over groups of Kendall's tau-b: advantages never compare pictures of different prompts. Null: no group has an order. */
function groupCorrelation(components: ComponentGroups, first: string, second: string): number | null {
  const others = reportedValues(components, second);
  const correlations = reportedValues(components, first).flatMap((values, group) => {
    const pairs = values.map((value, index) => [value, others[group]?.[index] ?? null] as const);
    const both = pairs.filter((pair): pair is readonly [number, number] => pair[0] !== null && pair[1] !== null);
    return (
      kendallCorrelation(
        both.map(([value]) => value),
        both.map(([, other]) => other),
      ) ?? []
    );
  });
  return correlations.length === 0 ? null : mean(correlations);
}

/** Readings of the last iteration of a history by metric name; one without enough iterations yet is absent. */
export function monitorReadings(monitors: readonly RewardMonitor[], history: MetricHistory): Record<string, number> {
  const readings = monitors.map((monitor) => [monitorMetric(monitor), readingOf(monitor, history)] as const);
  return Object.fromEntries(readings.filter((entry): entry is [string, number] => entry[1] !== null));
}

/**
 * Monitors that went beyond their threshold in the last iteration of a history and were not beyond it in the one before, so
 * that a run that is resumed after a hold goes on until the next crossing. Follows from the stored metrics alone: a run that
 * is taken up after a crash alarms at the same iterations.
 */
export function monitorAlarms(monitors: readonly RewardMonitor[], history: MetricHistory): MonitorAlarm[] {
  return monitors.flatMap((monitor) => {
    const reading = readingOf(monitor, history);
    if (reading === null || !isBeyond(monitor, reading)) return [];
    const before = readingOf(monitor, history.slice(0, -1));
    return before !== null && isBeyond(monitor, before) ? [] : [{ monitor, reading }];
  });
}

function isBeyond({ kind, threshold }: RewardMonitor, reading: number): boolean {
  return kind === 'disagreement' ? reading < threshold : reading > threshold;
}

function readingOf(monitor: RewardMonitor, history: MetricHistory): number | null {
  const { component, window } = monitor;
  if (history.length < window) return null;
  const latest = history.slice(-window);
  switch (monitor.kind) {
    case 'drift':
      return history.length < 2 * window ? null : driftOf(component, history.slice(0, window), latest);
    case 'saturation':
      return meanOf(latest, `reward_${component}_tied_group_share`);
    case 'disagreement':
      return meanOf(latest, correlationName(component, monitor.against));
    case 'missing':
      return missingShare(component, latest);
  }
}

/** Distance of the means in standard deviations of all values of the reference window. */
function driftOf(component: string, reference: MetricHistory, latest: MetricHistory): number | null {
  const means = valuesOf(reference, `reward_${component}_mean`);
  const now = meanOf(latest, `reward_${component}_mean`);
  if (means.length === 0 || now === null) return null;
  const center = mean(means);
  const squares = valuesOf(reference, `reward_${component}_std`).map((value, index) => {
    return value ** 2 + ((means[index] as number) - center) ** 2;
  });
  return Math.abs(now - center) / (Math.sqrt(mean(squares)) + ADVANTAGE_EPSILON);
}

function missingShare(component: string, latest: MetricHistory): number | null {
  const missing = sumOf(latest, `reward_${component}_missing_count`);
  const all = missing + sumOf(latest, `reward_${component}_count`);
  return all === 0 ? null : missing / all;
}

function correlationName(component: string, against: string): string {
  return `reward_${component}_rank_correlation_${against}`;
}

function meanOf(history: MetricHistory, name: string): number | null {
  const values = valuesOf(history, name);
  return values.length === 0 ? null : mean(values);
}

function sumOf(history: MetricHistory, name: string): number {
  return valuesOf(history, name).reduce((sum, value) => sum + value, 0);
}

function valuesOf(history: MetricHistory, name: string): number[] {
  return history.flatMap((metrics) => metrics[name] ?? []);
}
