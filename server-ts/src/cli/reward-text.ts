import type { RewardComparisonView, RewardVersionView, RewardView } from './api-client.js';
import { textTable } from './text-table.js';

/** What `star reward show` says: the reward in effect and the one that waits. */
export function rewardText({ runId, inEffect, pending, versions }: RewardView): string {
  const since = `in effect from iteration ${inEffect.effectiveIteration} on`;
  const last = versions.at(-1);
  return [
    `${runId}  reward version ${inEffect.version} ${since}, staged by ${inEffect.author} at ${inEffect.stagedAt}`,
    ...inEffect.reward.components.map((component) => `  ${componentText(component)}`),
    ...(pending === null ? [] : pendingLines(pending)),
    ...(last?.state === 'REFUSED' ? [`version ${last.version} was refused: ${last.failure}`] : []),
  ].join('\n');
}

/** What `star reward history` says: one line per version. */
export function rewardHistoryText(versions: readonly RewardVersionView[]): string {
  const rows = versions.map((version) => [
    String(version.version),
    version.state,
    version.effectiveIteration === null ? '-' : String(version.effectiveIteration),
    version.stagedAt,
    version.author,
    [
      version.rollbackOf === null ? '' : `undoes ${version.rollbackOf}: `,
      version.reward.components.map(componentText).join('; '),
      version.failure === null ? '' : ` (${version.failure})`,
    ].join(''),
  ]);
  return textTable([['VERSION', 'STATE', 'FROM ITERATION', 'STAGED', 'BY', 'REWARD'], ...rows]);
}

/** How far two rewards agree, as indented lines. */
export function comparisonLines(compared: RewardComparisonView): string[] {
  const { before, after } = compared;
  const spread = (side: RewardComparisonView['before']): string =>
    side === null ? '-' : `${short(side.mean)} +- ${short(side.standardDeviation)}`;
  return [
    `  pictures ${compared.pictureCount} in ${compared.groupCount} groups, missing ${compared.missingBefore} -> ${compared.missingAfter}`,
    `  mean +- standard deviation ${spread(before)} -> ${spread(after)}`,
    `  advantages: same sign ${percent(compared.agreement)}, opposite ${percent(compared.flipped)}`,
    `  order in ${compared.rankedGroupCount} groups: Spearman ${short(compared.spearman)}, Kendall ${short(compared.kendall)}`,
  ];
}

/** The same in cells of a table: pictures, missing, mean, same sign, opposite sign, Spearman, Kendall. */
export function comparisonCells(compared: RewardComparisonView): string[] {
  return [
    String(compared.pictureCount),
    `${compared.missingBefore} -> ${compared.missingAfter}`,
    `${short(compared.before?.mean ?? null)} -> ${short(compared.after?.mean ?? null)}`,
    percent(compared.agreement),
    percent(compared.flipped),
    short(compared.spearman),
    short(compared.kendall),
  ];
}

function pendingLines(pending: RewardVersionView): string[] {
  const next = {
    STAGED: 'is being loaded, or waits for the run to go on',
    CHECKED: pending.rollbackOf === null ? 'is loaded; scores pictures beside it' : 'takes effect at the next boundary',
    SHADOWED: 'takes effect at the next boundary',
  }[pending.state as string];
  const undoes = pending.rollbackOf === null ? '' : `, undoes ${pending.rollbackOf}`;
  return [
    `version ${pending.version} (${pending.state}${undoes}) ${next}; staged by ${pending.author} at ${pending.stagedAt}`,
    ...pending.reward.components.map((component) => `  ${componentText(component)}`),
    ...(pending.shadow === null ? [] : comparisonLines(pending.shadow)),
  ];
}

function componentText(component: RewardVersionView['reward']['components'][number]): string {
  const { name, scorer, bundle, value, weight } = component;
  return `${name} = ${weight} x ${scorer}.${value} (${bundle ?? 'shipped bundle'})`;
}

function percent(value: number | null): string {
  return value === null ? '-' : `${(100 * value).toFixed(1)}%`;
}

function short(value: number | null): string {
  return value === null ? '-' : String(Number(value.toPrecision(4)));
}
