import { isFinal } from '../core/run-state.js';
import { type ApiClient, delay, type RunView } from './api-client.js';
import type { ConsoleOutput } from './console-output.js';
import { initialProgress, progressLine, type RunProgress, takeEvent } from './run-progress.js';

/** How often the state of the run is asked for, and the status line drawn. */
const POLL_MS = 500;

/**
 * Shows a run until it ends or `interrupted` aborts.
 *
 * @returns the run in its last known state
 * @throws StarError when the control plane is gone
 */
export async function followRun(
  client: ApiClient,
  run: RunView,
  options: { readonly output: ConsoleOutput; readonly interrupted: AbortSignal },
): Promise<RunView> {
  const { output, interrupted } = options;
  const ended = new AbortController();
  const stop = AbortSignal.any([ended.signal, interrupted]);
  const every = run.recipe.evaluation.every;
  let progress = initialProgress({ ...run, every });
  const showAccuracy = async (): Promise<void> => {
    const accuracy = await client.lastAccuracy(run.runId).catch(() => null);
    progress = { ...progress, accuracy: accuracy ?? progress.accuracy };
    if (!output.isTty && accuracy !== null) output.note(`held-out strict accuracy ${(100 * accuracy).toFixed(1)}%`);
  };
  const watching = watchEvents(client, run.runId, stop, (event) => {
    const before = progress;
    progress = takeEvent(progress, event, performance.now());
    if (event.name === 'evaluation.completed') void showAccuracy();
    if (!output.isTty && isWorthALine(before, progress)) output.note(progressLine(progress, performance.now()));
  });
  try {
    for (;;) {
      const view = await client.getRun(run.runId);
      if (isFinal(view.state) || interrupted.aborted) return view;
      if (output.isTty) output.status(progressLine(progress, performance.now()));
      await delay(POLL_MS, interrupted);
    }
  } finally {
    ended.abort();
    await watching;
  }
}

/** Without a terminal: one line per phase and iteration. */
function isWorthALine(before: RunProgress, after: RunProgress): boolean {
  return before.phase !== after.phase || before.completedIterations !== after.completedIterations;
}

async function watchEvents(
  client: ApiClient,
  runId: string,
  signal: AbortSignal,
  onEvent: (event: Parameters<typeof takeEvent>[1]) => void,
): Promise<void> {
  for await (const event of client.events(runId, signal)) onEvent(event);
}
