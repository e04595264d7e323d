import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { ApiClient } from '../src/cli/api-client.js';
import { readRecipeFile } from '../src/cli/recipe-source.js';
import { readCommandSettings } from '../src/config/server-settings.js';
import { isFinal } from '../src/core/run-state.js';
import { startControlPlane } from '../src/main.js';
import { type Figures, serveRounds } from './rounds.js';

/**
 * Iterations of a recipe and of its scalar twin in turn, through everything: one control plane, one worker process, real
 * scorers. `--data-dir` must be empty and is the caller's to remove.
 */

/** The first iteration of a run warms up; the others count. */
const ITERATIONS = 3;
const POLL_MS = 200;

/**
 * A learning rate too small to change any picture: both runs then sample the same pictures, get the same rewards and train on
 * the same groups, so that nothing but the method itself differs in time.
 */
const CHANGES = [
  `iterations=${ITERATIONS}`,
  'optimizer.learningRate=1e-12',
  'evaluation.promptCount=1',
  'evaluation.every=0',
];

/** Seconds of one counted iteration by phase. */
type PhaseSeconds = Readonly<Record<string, number>>;

const timingsSchema = z.object({
  seconds: z.array(z.object({ iteration: z.number(), name: z.string(), value: z.number() })),
});

const option = { type: 'string' } as const;
const { values: paths } = parseArgs({ options: { star: option, scalar: option, 'data-dir': option } });
const star = readRecipeFile(String(paths.star), CHANGES);
const scalar = readRecipeFile(String(paths.scalar), CHANGES);
const imageCount = star.recipe.prompts.groupsPerIteration * star.recipe.prompts.groupSize;

const plane = await startControlPlane({
  dataDir: String(paths['data-dir']),
  host: '127.0.0.1',
  httpPort: 0,
  grpcPort: 0,
  scorerListen: null,
  leftovers: 'single',
  localWorker: true,
  python: readCommandSettings(process.env).python,
  log: 'file',
});
try {
  const client = new ApiClient(plane.url);
  await runIterations(client, star.text);
  let round = 0;
  await serveRounds(() => measure(client, round++ % 2 === 0));
} finally {
  await plane.stop();
}

/** One run of each, in an order that changes every round: a machine that slows down then favours neither. */
async function measure(client: ApiClient, starFirst: boolean): Promise<Figures> {
  const first = await runIterations(client, starFirst ? star.text : scalar.text);
  const second = await runIterations(client, starFirst ? scalar.text : star.text);
  const [own, other] = starFirst ? [first, second] : [second, first];
  const iteration = sum(own, 'iteration');
  const images = imageCount * own.length;
  // All that the worker does is in `sampling` and `update`, except the wait for masks inside `update`.
  const waited = iteration - sum(own, 'sampling') - sum(own, 'update') + sum(own, 'waiting_for_masks');
  return {
    star_over_scalar_iteration: iteration / sum(other, 'iteration'),
    rollout_images_per_second: images / sum(own, 'sampling'),
    update_images_per_second: images / sum(own, 'optimising'),
    worker_wait_share: waited / iteration,
  };
}

/** Carries out a run. @returns its iterations after the first one */
async function runIterations(client: ApiClient, recipeText: string): Promise<PhaseSeconds[]> {
  let run = await client.createRun(recipeText);
  while (!isFinal(run.state)) {
    await sleep(POLL_MS);
    run = await client.getRun(run.runId);
  }
  if (run.state !== 'SUCCEEDED') throw new Error(`run ${run.runId} is ${run.state}: ${run.failure}`);
  const response = await fetch(`${client.url}/v1/runs/${run.runId}/metrics`);
  const { seconds } = timingsSchema.parse(await response.json());
  const counted = Array.from({ length: ITERATIONS - 1 }, (_, index) => index + 1);
  return counted.map((iteration) =>
    Object.fromEntries(
      seconds.filter((point) => point.iteration === iteration).map(({ name, value }) => [name, value]),
    ),
  );
}

function sum(iterations: readonly PhaseSeconds[], phase: string): number {
  return iterations.reduce((total, seconds) => {
    const value = seconds[phase];
    if (value === undefined) throw new Error(`no seconds of phase ${phase} were recorded`);
    return total + value;
  }, 0);
}
