import type { Recipe } from '../config/recipe.js';
import { type ComponentGroups, componentMetrics } from '../core/component-metrics.js';
import { StarError } from '../core/errors.js';
import { componentOutcomes } from '../core/reward-components.js';
import {
  correlationMetrics,
  type MetricHistory,
  type MonitorAlarm,
  monitorAlarms,
  monitorReadings,
} from '../core/reward-monitors.js';
import type { EndRun, Telemetry } from './ports.js';
import type { ScoredGroup } from './reward-stage.js';

/** What monitors work with. */
export interface RewardWatchInput {
  readonly runId: string;
  readonly iteration: number;
  readonly recipe: Recipe;
  readonly rewardVersion: number;
  /** Metrics of all earlier iterations, from the store. */
  readonly history: () => MetricHistory;
  readonly telemetry: Telemetry;
  readonly endRun: EndRun;
}

/** What every component says of every rollout. */
export function componentGroups(groups: readonly ScoredGroup[], { reward }: Recipe): ComponentGroups {
  return groups.map(({ scores }) => scores.map((each) => componentOutcomes(each, reward.components)));
}

/**
 * Reads the monitors of a recipe for an iteration whose scores are known, before it is trained on, and does what they ask for:
 * an event for every alarm; the most serious one may end the run after this iteration.
 *
 * @returns metrics of the monitors
 */
export function watchRewards(input: RewardWatchInput, groups: readonly ScoredGroup[]): Record<string, number> {
  const { monitors } = input.recipe.reward;
  const components = componentGroups(groups, input.recipe);
  const correlations = correlationMetrics(components, monitors);
  const earlier = sinceReward(input.history(), input.rewardVersion);
  const history = [...earlier, { ...componentMetrics(components), ...correlations }];
  const alarms = monitorAlarms(monitors, history);
  for (const alarm of alarms) report(input, alarm);
  const serious =
    alarms.find(({ monitor }) => monitor.action === 'stop') ?? alarms.find(({ monitor }) => monitor.action === 'hold');
  if (serious !== undefined) {
    const state = serious.monitor.action === 'stop' ? 'FAILED' : 'STOPPED';
    input.endRun(state, new StarError('REWARD_NOT_TRUSTED', messageOf(serious, input.iteration)));
  }
  return { ...correlations, ...monitorReadings(monitors, history) };
}

/** Iterations under the reward in effect: a window never spans a change of the reward. */
function sinceReward(history: MetricHistory, version: number): MetricHistory {
  return history.slice(history.findLastIndex((metrics) => metrics.reward_version !== version) + 1);
}

function report({ runId, iteration, telemetry }: RewardWatchInput, alarm: MonitorAlarm): void {
  const { kind, component, action, threshold } = alarm.monitor;
  const message = messageOf(alarm, iteration);
  telemetry.event('reward.alarm', {
    ...{ runId, iteration, kind, component, action },
    ...{ reading: alarm.reading, threshold, message },
  });
}

function messageOf({ monitor, reading }: MonitorAlarm, iteration: number): string {
  const { kind, component, threshold, window } = monitor;
  const what = kind === 'disagreement' ? `${component} against ${monitor.against}` : component;
  const side = kind === 'disagreement' ? 'below' : 'above';
  const value = Number(reading.toPrecision(4));
  return `${kind} monitor of ${what}: ${value} is ${side} ${threshold} over ${window} iterations, in iteration ${iteration}`;
}
