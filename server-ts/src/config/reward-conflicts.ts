import type { Recipe } from './recipe.js';
import type { RecipeConflict } from './recipe-conflicts.js';

type Component = Recipe['reward']['components'][number];
type Monitor = Recipe['reward']['monitors'][number];

/** Checks across the components of a reward: gates, transforms, held-out components. */
export function componentConflicts({ reward }: Recipe): RecipeConflict[] {
  return reward.components.flatMap((component, index) => {
    const at = (field: string, message: string): RecipeConflict => ({
      path: ['reward', 'components', String(index), field],
      message: `component ${component.name}: ${message}`,
    });
    return [
      ...gateProblems(component, reward.components).map((message) => at('gate', message)),
      ...transformProblems(component).map((message) => at('transform', message)),
      ...heldOutProblems(component).map((message) => at('heldOut', message)),
    ];
  });
}

function gateProblems({ gate, weight }: Component, components: readonly Component[]): string[] {
  if (gate === null) return [];
  const source = components.find(({ name }) => name === gate.component);
  if (source === undefined) return [`the gate ${unknownComponent(gate.component, components)}`];
  if (!source.heldOut || weight === 0) return [];
  return [`the gate reads ${source.name}, which is held out; a held-out component must not decide a reward`];
}

function transformProblems({ transform }: Component): string[] {
  if (transform === null) return [];
  const { clip, scale } = transform;
  if (clip !== null && clip[0] >= clip[1]) return [`clip is [${clip.join(', ')}]; needs low < high`];
  return scale === 0 ? ['scale is 0, which makes every value equal; use another factor or weight: 0'] : [];
}

function heldOutProblems({ heldOut, weight }: Component): string[] {
  if (!heldOut || weight === 0) return [];
  return [`is held out and has weight ${weight}; a held-out component is never trained on, set weight: 0`];
}

/** Checks of monitors against components and against each other. */
export function monitorConflicts({ reward, iterations }: Recipe): RecipeConflict[] {
  const { monitors, components } = reward;
  return monitors.flatMap((monitor, index) => {
    const twice = monitors.findIndex((other) => monitorId(other) === monitorId(monitor)) < index;
    const problems = twice ? [`there are two monitors of this kind for ${monitor.component}`] : [];
    problems.push(...sourceProblems(monitor, components), ...windowProblems(monitor, iterations));
    return problems.map((message) => ({
      path: ['reward', 'monitors', String(index)],
      message: `${monitor.kind} monitor: ${message}`,
    }));
  });
}

function monitorId(monitor: Monitor): string {
  return [monitor.kind, monitor.component, monitor.kind === 'disagreement' ? monitor.against : ''].join(' ');
}

function sourceProblems(monitor: Monitor, components: readonly Component[]): string[] {
  const names = monitor.kind === 'disagreement' ? [monitor.component, monitor.against] : [monitor.component];
  const problems: string[] = [];
  if (names.length === 2 && names[0] === names[1]) problems.push(`compares ${names[0]} with itself`);
  for (const name of names) {
    const component = components.find((each) => each.name === name);
    if (component === undefined) problems.push(unknownComponent(name, components));
    else if (component.heldOut && monitor.action !== 'warn') {
      problems.push(
        `${name} is held out, so the run must not depend on it; received action ${monitor.action}, use warn`,
      );
    }
  }
  return problems;
}

/** A drift is measured between two windows. */
function windowProblems({ kind, window }: Monitor, iterations: number): string[] {
  const needed = kind === 'drift' ? 2 * window : window;
  if (needed <= iterations) return [];
  return [`window ${window} needs ${needed} iterations to say anything, the recipe has ${iterations}`];
}

function unknownComponent(name: string, components: readonly Component[]): string {
  return `names component "${name}"; the recipe has ${components.map((component) => component.name).join(', ')}`;
}
