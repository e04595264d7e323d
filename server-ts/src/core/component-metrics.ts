import type { ComponentOutcome } from './reward-components.js';

/** Per group, per rollout: outcomes by component name. */
export type ComponentGroups = readonly (readonly ReadonlyMap<string, ComponentOutcome>[])[];

/**
 * Metrics of every component by itself (docs/metrics.md), of the values that its scorer reported: before transform and gate,
 * and of rollouts without a reward too.
 *
 * @returns finite numbers by name; what cannot be computed is absent
 */
export function componentMetrics(groups: ComponentGroups): Record<string, number> {
  const names = groups[0]?.[0]?.keys() ?? [];
  return Object.assign({}, ...[...names].map((name) => metricsOf(name, columnsOf(groups, name))));
}

/**
 * Reported values of one component.
 *
 * @returns per group, per rollout; null: none
 */
export function reportedValues(groups: ComponentGroups, name: string): (number | null)[][] {
  return columnsOf(groups, name).map((column) =>
    column.map((outcome) => (outcome?.kind === 'value' ? outcome.reported : null)),
  );
}

/** Mean, standard deviation (population) and range under `<prefix>_`; nothing for no values. */
export function distribution(prefix: string, values: readonly number[]): Record<string, number> {
  if (values.length === 0) return {};
  const center = mean(values);
  return {
    [`${prefix}_mean`]: center,
    [`${prefix}_std`]: Math.sqrt(mean(values.map((value) => (value - center) ** 2))),
    [`${prefix}_min`]: Math.min(...values),
    [`${prefix}_max`]: Math.max(...values),
  };
}

/** Arithmetic mean of at least one value. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

type Column = readonly (ComponentOutcome | undefined)[];

function columnsOf(groups: ComponentGroups, name: string): Column[] {
  return groups.map((group) => group.map((outcomes) => outcomes.get(name)));
}

function metricsOf(name: string, columns: readonly Column[]): Record<string, number> {
  const prefix = `reward_${name}`;
  const outcomes = columns.flat();
  const values = outcomes.flatMap((outcome) => (outcome?.kind === 'value' ? [outcome.reported] : []));
  const count = (is: (outcome: Column[number]) => boolean): number => outcomes.filter(is).length;
  const metrics = {
    ...distribution(prefix, values),
    ...tiedGroups(prefix, columns),
    [`${prefix}_count`]: values.length,
    [`${prefix}_missing_count`]: count((outcome) => outcome?.kind === 'missing'),
  };
  const abstained = count((outcome) => outcome?.kind === 'abstained');
  if (abstained > 0) metrics[`${prefix}_abstained_count`] = abstained;
  const closed = count((outcome) => outcome?.kind === 'value' && outcome.gateClosed);
  if (closed > 0) metrics[`${prefix}_gate_closed_count`] = closed;
  return metrics;
}

/** Share of groups, of those with at least 2 values, in which all values are equal. */
function tiedGroups(prefix: string, columns: readonly Column[]): Record<string, number> {
  const groups = columns.map((column) => column.flatMap((each) => (each?.kind === 'value' ? [each.reported] : [])));
  const comparable = groups.filter((values) => values.length > 1);
  if (comparable.length === 0) return {};
  return { [`${prefix}_tied_group_share`]: mean(comparable.map((values) => Number(new Set(values).size === 1))) };
}
