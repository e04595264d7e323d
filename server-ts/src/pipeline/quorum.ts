import { errorStatus } from '../core/error-status.js';
import { StarError } from '../core/errors.js';
import type { Reward } from '../core/types.js';

/** Share of rollouts with a reward, of those that did not abstain; 0: nobody has one. */
export function rewardShare(rewards: readonly Reward[]): number {
  const count = (kind: Reward['kind']): number => rewards.filter((reward) => reward.kind === kind).length;
  const valued = count('value');
  return valued === 0 ? 0 : valued / (valued + count('missing'));
}

/** True: enough rollouts have a reward to train on them. One reward is needed in any case. */
export function isReached(rewards: readonly Reward[], share: number): boolean {
  const reached = rewardShare(rewards);
  return reached > 0 && reached >= share;
}

/** True for a missing reward that may be there when its scores are asked for once more. */
export function mayBeScoredAgain(reward: Reward | undefined): boolean {
  return reward?.kind === 'missing' && errorStatus(reward.failure.reason).retry;
}

/** Why an iteration is not trained on: the reason of the most frequent failure, and a message that counts all of them. */
export function quorumFailure(iteration: number, rewards: readonly Reward[], share: number): StarError {
  const failures = rewards.flatMap((reward) => (reward.kind === 'missing' ? [reward.failure] : []));
  const counts = new Map<string, number>();
  for (const { reason } of failures) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  const example = failures.find(({ reason }) => reason === most?.[0]);
  const valued = rewards.filter(({ kind }) => kind === 'value').length;
  const abstained = rewards.length - failures.length - valued;
  if (abstained > 0) counts.set('abstained', abstained);
  const list = [...counts].map(([reason, count]) => `${count} x ${reason}`).join(', ');
  const got = `${valued === 0 ? 'none' : `only ${valued}`} of the ${rewards.length} rollouts of iteration ${iteration} got`;
  const needed = valued === 0 ? '' : `, reward.quorum.share asks for ${share}`;
  const shown = example === undefined ? 'no component applies to these prompts' : `for example: ${example.message}`;
  return new StarError(example?.reason ?? 'PROMPT_INVALID', `${got} a reward (${list})${needed}; ${shown}`);
}
