import { describe, expect, it } from 'vitest';
import type { ComponentOutcome } from './reward-components.js';
import {
  correlationMetrics,
  type MetricHistory,
  monitorAlarms,
  monitorReadings,
  type RewardMonitor,
} from './reward-monitors.js';

const monitor = (kind: 'drift' | 'saturation' | 'missing', threshold: number, window = 2): RewardMonitor => ({
  component: 'a',
  kind,
  threshold,
  window,
  action: 'warn',
});
const disagreement: RewardMonitor = {
  component: 'a',
  against: 'b',
  kind: 'disagreement',
  threshold: 0.3,
  window: 1,
  action: 'hold',
};
/** One metric of component a, per iteration; null: absent. */
const series = (name: string, ...values: (number | null)[]): MetricHistory =>
  values.map((value): Record<string, number> => (value === null ? {} : { [`reward_a_${name}`]: value }));

/** Iterations in which the monitor alarms. */
function alarms(one: RewardMonitor, history: MetricHistory): number[] {
  return history.flatMap((_, index) => (monitorAlarms([one], history.slice(0, index + 1)).length > 0 ? [index] : []));
}

describe('monitors', () => {
  it('measures drift against the first window in its standard deviations', () => {
    const at = (mean: number, std = 0.1): Record<string, number> => ({ reward_a_mean: mean, reward_a_std: std });
    const history = [at(0.4), at(0.4), at(0.5), at(0.7), at(0.9)];
    const drift = monitor('drift', 2);
    expect(monitorReadings([drift], history.slice(0, 3))).toEqual({});
    expect(monitorReadings([drift], history.slice(0, 4)).monitor_a_drift).toBeCloseTo(0.2 / (0.1 + 1e-4), 12);
    expect(monitorReadings([drift], history).monitor_a_drift).toBeCloseTo(0.4 / (0.1 + 1e-4), 12);
    expect(alarms(monitor('drift', 3), history)).toEqual([4]);
    // The spread of the means of the reference window counts too: 0.3 and 0.5 are 0.1 away from 0.4.
    const spread = monitorReadings([drift], [at(0.3), at(0.5), at(0.6), at(0.6)]).monitor_a_drift;
    expect(spread).toBeCloseTo(0.2 / (Math.sqrt(0.02) + 1e-4), 12);
  });

  it('alarms when it crosses the threshold, not as long as it is beyond', () => {
    const history = series('tied_group_share', 0.5, 1, 1, 1, 0.5, 0.5, 1, 1);
    expect(alarms(monitor('saturation', 0.9), history)).toEqual([2, 7]);
    expect(alarms(monitor('saturation', 0.9, 1), history)).toEqual([1, 6]);
  });

  it('weighs missing values by rollouts', () => {
    const history = [
      { reward_a_count: 10, reward_a_missing_count: 0 },
      { reward_a_count: 0, reward_a_missing_count: 2 },
    ];
    expect(monitorReadings([monitor('missing', 0.1)], history)).toEqual({ monitor_a_missing: 2 / 12 });
    expect(alarms(monitor('missing', 0.1), history)).toEqual([1]);
    expect(monitorReadings([monitor('missing', 0.1)], [{}, {}])).toEqual({});
  });

  it('finds disagreement inside groups, where both components have a value', () => {
    const value = (reported: number): ComponentOutcome => ({ kind: 'value', reported, value: 0, gateClosed: false });
    const rollout = (a: number, b: number | null) =>
      new Map<string, ComponentOutcome>([
        ['a', value(a)],
        ['b', b === null ? { kind: 'abstained' } : value(b)],
      ]);
    // Between the groups the order is the same: that says nothing.
    const opposite = correlationMetrics(
      [
        [rollout(0, 1), rollout(1, 0), rollout(9, null)],
        [rollout(10, 11), rollout(11, 10)],
        [rollout(1, 1), rollout(1, 2)],
      ],
      [disagreement],
    );
    const same = correlationMetrics([[rollout(0, 0), rollout(1, 1)]], [disagreement]);
    expect([opposite, same, correlationMetrics([[rollout(0, null)]], [disagreement])]).toEqual([
      { reward_a_rank_correlation_b: -1 },
      { reward_a_rank_correlation_b: 1 },
      {},
    ]);
    expect(monitorReadings([disagreement], [opposite])).toEqual({ monitor_a_disagreement_b: -1 });
    expect(alarms(disagreement, [same, opposite, opposite, {}, opposite])).toEqual([1, 4]);
  });

  it('leaves out iterations that could not be measured', () => {
    const saturation = monitor('saturation', 0.9);
    expect(monitorReadings([saturation], series('tied_group_share', 1, null))).toEqual({ monitor_a_saturation: 1 });
    expect(monitorReadings([saturation], series('tied_group_share', null, null))).toEqual({});
  });
});
