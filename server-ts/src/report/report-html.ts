import { stringify } from 'yaml';
import { escapeHtml } from './escape-html.js';
import { type ChartMark, lineChart } from './line-chart.js';
import { REPORT_STYLE } from './report-style.js';
import type { AllocationStory, Comparison, Interval, PicturePair, ReportData, ReportPictures } from './report-types.js';

/**
 * A report as one HTML page that needs no network and no script.
 *
 * @param pictures data URIs only
 */
export function reportHtml(data: ReportData, pictures: ReportPictures): string {
  const sections = [
    header(data),
    tiles(data),
    curves(data),
    tagTable(data),
    pairGrid(pictures.pairs),
    stories(pictures.stories),
    phases(data),
    exportSection(data),
    provenance(data),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(`${data.run.name}: STAR report`)}</title><style>${REPORT_STYLE}</style></head>
<body><main>${sections.filter((section) => section !== '').join('\n')}</main></body></html>
`;
}

const percent = (value: number | null): string => (value === null ? '-' : `${(100 * value).toFixed(1)}%`);
const points = (value: number): string => `${value >= 0 ? '+' : '-'}${Math.abs(100 * value).toFixed(1)}`;
const number = (value: number | null): string => (value === null ? '-' : value.toFixed(3));

function header({ run }: ReportData): string {
  const done = `${run.completedIterations} of ${run.iterations} iterations`;
  const failure = run.failure === null ? '' : `<p class="bad">${escapeHtml(run.failure)}</p>`;
  return `<header><h1>${escapeHtml(run.name)}</h1><p class="lead">${escapeHtml(run.description)}</p><p class="soft">Run ${escapeHtml(run.runId)}, ${escapeHtml(run.state.toLowerCase())}, ${done}, seed ${run.seed}, started ${escapeHtml(run.createdAt)}</p>${failure}</header>`;
}

function intervalText(interval: Interval | null): string {
  return interval === null
    ? '-'
    : `${points(interval.mean)} <span class="soft">[${points(interval.low)}, ${points(interval.high)}]</span>`;
}

function verdict(interval: Interval | null): string {
  if (interval === null) return '';
  if (interval.low > 0) return 'good';
  return interval.high < 0 ? 'bad' : '';
}

function tile(value: string, label: string, look = ''): string {
  return `<div class="tile"><b class="${look}">${value}</b><span>${label}</span></div>`;
}

function tiles({ evaluation, phases: phaseList }: ReportData): string {
  const difference = evaluation.pairedDifference;
  const single = evaluation.history[0];
  const outer = phaseList.filter((phase) => OUTER_PHASES.has(phase.name));
  const seconds = outer.reduce((sum, phase) => sum + phase.totalSeconds, 0);
  const accuracy =
    evaluation.policyVersionAfter === null
      ? tile(percent(single?.accuracy ?? null), 'strict accuracy before training')
      : tile(
          `${percent(evaluation.accuracyBefore)} &rarr; ${percent(evaluation.accuracyAfter)}`,
          `strict accuracy on ${evaluation.count} held-out prompts and seeds`,
        );
  const change =
    difference === null
      ? ''
      : tile(
          `${points(difference.mean)} points`,
          `paired difference, 95% interval ${points(difference.low)} to ${points(difference.high)}`,
          verdict(difference),
        );
  const reward =
    evaluation.policyVersionAfter === null
      ? ''
      : tile(
          `${number(evaluation.rewardBefore)} &rarr; ${number(evaluation.rewardAfter)}`,
          'mean reward on the same pictures',
        );
  return `<div class="tiles">${accuracy}${change}${reward}${tile(`${(seconds / 60).toFixed(1)} min`, 'of iterations, evaluations apart')}</div>`;
}

/** Phases that follow one another and make up an iteration; the others are parts of them or overlap. */
const OUTER_PHASES = new Set(['sampling', 'update']);

/** Series shown first; the others follow in a fold. */
const MAIN_CURVES =
  /^(reward_mean|reward_std|zero_std_group_share|.*loss|gradient_norm|allocation_concentration_mean)$/;

function curves(data: ReportData): string {
  const accuracy = data.evaluation.history.flatMap(({ policyVersion, accuracy: value }) =>
    value === null ? [] : [[policyVersion, value] as const],
  );
  const evaluationChart = lineChart([{ name: 'strict accuracy', points: accuracy }], {
    title: 'Held-out strict accuracy',
    xLabel: 'policy version',
  });
  const marks = swapMarks(data.curves.reward_version ?? []);
  const chart = (name: string): string =>
    lineChart([{ name, points: data.curves[name] ?? [] }], { title: name, xLabel: 'iteration', marks });
  const names = Object.keys(data.curves).filter((name) => data.onPolicy[name] === undefined);
  const main = names.filter((name) => MAIN_CURVES.test(name)).map(chart);
  const rest = names.filter((name) => !MAIN_CURVES.test(name)).map(chart);
  const gauges = Object.keys(data.onPolicy).map(chart);
  const gaugeText =
    gauges.length === 0
      ? ''
      : `<h2>On-policy gauge</h2><p class="soft">Largest |ratio - 1| over all positions and steps before the first optimiser step of every iteration: how far the policy that trains is from the policy that sampled. It has to be 0, or within the tolerance that the recipe states.</p><div class="charts">${gauges.join('')}</div>`;
  const fold =
    rest.length === 0
      ? ''
      : `<details><summary>All ${rest.length} other series</summary><div class="charts">${rest.join('')}</div></details>`;
  const swapText =
    marks.length === 0
      ? ''
      : `<p class="soft">Dashed lines: another version of the reward took effect (${marks.map(({ text }) => text).join('; ')}). Rewards on either side are not on one scale; evaluations are always judged by the recipe's reward.</p>`;
  return `<h2>Curves</h2>${swapText}<div class="charts">${evaluationChart}${main.join('')}</div>${fold}${gaugeText}`;
}

/** Iterations at which another version of the reward took effect. */
function swapMarks(versions: readonly (readonly [iteration: number, version: number])[]): ChartMark[] {
  return versions.flatMap(([iteration, version], index) => {
    const before = versions[index - 1]?.[1] ?? version;
    return before === version ? [] : [{ x: iteration, text: `version ${version} from iteration ${iteration} on` }];
  });
}

function tagRow(name: string, row: Comparison, look = ''): string {
  return `<tr class="${look}"><td>${escapeHtml(name)}</td><td>${row.count}</td><td>${percent(row.accuracyBefore)}</td><td>${percent(row.accuracyAfter)}</td><td class="${verdict(row.pairedDifference)}">${intervalText(row.pairedDifference)}</td><td>${number(row.rewardBefore)}</td><td>${number(row.rewardAfter)}</td></tr>`;
}

function tagTable({ evaluation }: ReportData): string {
  if (evaluation.policyVersionAfter === null) return '';
  const missing = evaluation.missing === 0 ? '' : ` ${evaluation.missing} pairs have a missing score and are left out.`;
  const rows = evaluation.byTag.map((row) => tagRow(row.tag, row)).join('');
  return `<h2>By kind of prompt</h2><p class="soft">The same held-out prompts and the same noise, before (policy version ${evaluation.policyVersionBefore}) and after (${evaluation.policyVersionAfter}). Differences in percentage points with the 95% interval of the paired difference.${missing}</p><div class="panel scroll"><table><thead><tr><th>kind</th><th>pictures</th><th>before</th><th>after</th><th>difference</th><th>reward before</th><th>after</th></tr></thead><tbody>${rows}${tagRow('all', evaluation, 'total')}</tbody></table></div>`;
}

function mark(value: number | null): string {
  if (value === null) return 'no score';
  return value >= 1 ? '<span class="good">right</span>' : '<span class="bad">wrong</span>';
}

function pairGrid(pairs: readonly PicturePair[]): string {
  if (pairs.length === 0) return '';
  const cards = pairs.map(
    (pair) =>
      `<div class="pair"><div class="two"><figure><img src="${escapeHtml(pair.before)}" alt="before"><span class="mark">before: ${mark(pair.strictBefore)}</span></figure><figure><img src="${escapeHtml(pair.after)}" alt="after"><span class="mark">after: ${mark(pair.strictAfter)}</span></figure></div><p>${escapeHtml(pair.prompt)}</p></div>`,
  );
  return `<h2>Before and after</h2><p class="soft">Same prompt, same noise. The first pictures of every kind, not the best ones.</p><div class="pairs">${cards.join('')}</div>`;
}

/** Prompt with its core content marked. Offsets count code points. */
export function markSpans(prompt: string, spans: readonly { readonly start: number; readonly end: number }[]): string {
  const characters = [...prompt];
  const isCore = characters.map((_, index) => spans.some((span) => index >= span.start && index < span.end));
  return characters
    .map((character, index) => {
      const open = isCore[index] && !isCore[index - 1] ? '<mark>' : '';
      const close = isCore[index] && !isCore[index + 1] ? '</mark>' : '';
      return `${open}${escapeHtml(character)}${close}`;
    })
    .join('');
}

function story(entry: AllocationStory): string {
  const steps = entry.steps.map(
    (step) =>
      `<div class="step"><div class="overlay"><img src="${escapeHtml(entry.picture)}" alt=""><img src="${escapeHtml(step.overlay)}" alt="allocation map of step ${step.stepIndex}"></div>step ${step.stepIndex}${step.sigma === null ? '' : `, sigma ${step.sigma.toFixed(2)}`}</div>`,
  );
  const concepts = entry.concepts.map((concept) => escapeHtml(concept.name)).join(', ') || 'none: uniform map';
  return `<div class="story"><strong>${markSpans(entry.prompt, entry.spans)}</strong><p class="soft">reward ${number(entry.reward)}, advantage ${number(entry.advantage)}; concepts: ${concepts}</p><div class="steps"><div class="step"><img src="${escapeHtml(entry.picture)}" alt="rollout">picture</div>${steps.join('')}</div></div>`;
}

function stories(entries: readonly AllocationStory[]): string {
  if (entries.length === 0) return '';
  return `<h2>Where the advantage went</h2><p class="soft">Allocation map of each captured denoising step, laid over the finished picture: <span class="star">amber</span> gets more than an equal share of the advantage, dark gets less. Marked words are the core content whose attention made the map.</p>${entries.map(story).join('')}`;
}

function phases({ phases: list }: ReportData): string {
  if (list.length === 0) return '';
  const largest = Math.max(...list.map((phase) => phase.totalSeconds), 1e-9);
  const bars = [...list]
    .sort((a, b) => b.totalSeconds - a.totalSeconds)
    .map(
      (phase) =>
        `<span>${escapeHtml(phase.name)}</span><span class="bar" style="width:${((100 * phase.totalSeconds) / largest).toFixed(1)}%"></span><span>${phase.totalSeconds.toFixed(1)} s, ${phase.meanSeconds.toFixed(2)} s each</span>`,
    );
  return `<h2>Time by phase</h2><p class="soft">an iteration is sampling and update one after the other; the other phases are parts of them or run beside them.</p><div class="panel bars">${bars.join('')}</div>`;
}

function exportSection(data: ReportData): string {
  if (data.export === null) return '';
  return `<h2>Use the result</h2><p class="soft">Exported as ${escapeHtml(data.export.format)} to ${escapeHtml(data.export.path)}. It loads into diffusers without this project:</p><pre>${escapeHtml(data.export.code)}</pre>`;
}

function provenance(data: ReportData): string {
  const scorers = data.scorers.map(
    (scorer) =>
      `<tr><td>${escapeHtml(scorer.scorer)}</td><td>${escapeHtml(scorer.bundleHash.slice(0, 16))}</td><td>${escapeHtml(scorer.runtime)}</td></tr>`,
  );
  const environment = Object.entries(data.environment).map(
    ([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`,
  );
  return `<h2>Where it came from</h2><div class="panel scroll"><table><thead><tr><th>scorer</th><th>bundle</th><th>runtime</th></tr></thead><tbody>${scorers.join('')}</tbody></table></div><details><summary>Environment</summary><div class="panel scroll"><table>${environment.join('')}</table></div></details><details><summary>Recipe with all defaults</summary><pre>${escapeHtml(stringify(data.recipe))}</pre></details>`;
}
