import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { StarError } from '../core/errors.js';
import type { ApiClient, RewardVersionView, RewardView } from './api-client.js';
import { type CommandContext, requireServer } from './command-context.js';
import { EXIT } from './exit-code.js';
import { rewardHistoryText, rewardText } from './reward-text.js';
import { reading, type ViewOptions } from './runs-commands.js';

/** Wait between two looks at a reward that is being loaded. */
const POLL_MS = 300;

/** Options of `star reward set`. */
export interface RewardSetOptions extends ViewOptions {
  /** `name=number` each. */
  readonly weight: readonly string[];
}

/**
 * `star reward set RUN [SPEC]`: stages a reward and waits until it is loaded or refused. Without a file the reward in effect
 * gets other weights.
 *
 * @returns exit code: 1 when it was refused
 */
export async function rewardSetCommand(
  context: CommandContext,
  runId: string,
  spec: string | undefined,
  options: RewardSetOptions,
): Promise<number> {
  const client = requireServer(context, options);
  const text = spec === undefined ? null : readSpec(spec);
  if (text === null && options.weight.length === 0) {
    throw new StarError('ARGUMENT_INVALID', 'name a file with a reward, or a weight to change: --weight NAME=NUMBER');
  }
  const original = text ?? JSON.stringify((await client.reward(runId)).inEffect.reward);
  const staged = await client.stageReward(runId, applyWeights(original, options.weight), author());
  return concluded(context, client, { runId, version: staged.versions.length, options });
}

/** `star reward rollback RUN`. @returns exit code: 1 when the reward to go back to cannot be loaded any more */
export async function rewardRollbackCommand(
  context: CommandContext,
  runId: string,
  options: ViewOptions,
): Promise<number> {
  const client = requireServer(context, options);
  const { versions } = await client.rollBackReward(runId, author());
  return concluded(context, client, { runId, version: versions.length, options });
}

/** `star reward show RUN`. @returns exit code */
export async function rewardShowCommand(context: CommandContext, runId: string, options: ViewOptions): Promise<number> {
  const view = await reading(context, options, (client) => client.reward(runId));
  context.output.print(options.json === true ? JSON.stringify(view, null, 2) : rewardText(view));
  return EXIT.ok;
}

/** `star reward history RUN`. @returns exit code */
export async function rewardHistoryCommand(
  context: CommandContext,
  runId: string,
  options: ViewOptions,
): Promise<number> {
  const { versions } = await reading(context, options, (client) => client.reward(runId));
  context.output.print(options.json === true ? JSON.stringify({ versions }, null, 2) : rewardHistoryText(versions));
  return EXIT.ok;
}

async function concluded(
  { output }: CommandContext,
  client: ApiClient,
  { runId, version, options }: { readonly runId: string; readonly version: number; readonly options: ViewOptions },
): Promise<number> {
  const view = await whenLoaded(client, runId, version);
  output.print(options.json === true ? JSON.stringify(view, null, 2) : rewardText(view));
  const { state, failure } = view.versions[version - 1] as RewardVersionView;
  if (state !== 'REFUSED') return EXIT.ok;
  output.note(`error: version ${version} was refused, the run goes on with its reward: ${failure}`);
  return EXIT.failure;
}

/** A run that is not under way takes the reward up later: nothing to wait for. */
async function whenLoaded(client: ApiClient, runId: string, version: number): Promise<RewardView> {
  for (;;) {
    const view = await client.reward(runId);
    const loading = view.versions[version - 1]?.state === 'STAGED';
    if (!loading || (await client.getRun(runId)).state !== 'RUNNING') return view;
    await delay(POLL_MS);
  }
}

/**
 * Changes weights of components by name.
 *
 * @param text a reward, YAML or JSON; a text that is something else is left to the server's checks
 * @throws StarError ARGUMENT_INVALID for an unknown component or a weight that is no number
 */
export function applyWeights(text: string, assignments: readonly string[]): string {
  if (assignments.length === 0) return text;
  const reward = parse(text) as { components?: { name?: unknown; weight?: number }[] } | null;
  for (const assignment of assignments) {
    const [, name, value] = /^([^=]+)=(.+)$/.exec(assignment) ?? [];
    const weight = Number(value);
    if (name === undefined || !Number.isFinite(weight)) {
      throw new StarError('ARGUMENT_INVALID', `expected --weight NAME=NUMBER, received ${JSON.stringify(assignment)}`);
    }
    const component = reward?.components?.find((each) => each.name === name);
    if (component === undefined) {
      const known = reward?.components?.map((each) => each.name).join(', ');
      throw new StarError(
        'ARGUMENT_INVALID',
        `--weight ${assignment}: the reward has no component ${name}; it has: ${known}`,
      );
    }
    component.weight = weight;
  }
  return stringify(reward);
}

/** @throws StarError NOT_FOUND */
export function readSpec(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new StarError('NOT_FOUND', `reward ${path} cannot be read: ${StarError.from(error).message}`, {}, error);
  }
}

/** Who changes the reward, as this machine knows the user. */
function author(): string {
  try {
    return userInfo().username;
  } catch {
    return 'cli';
  }
}
