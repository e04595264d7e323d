import { StarError } from '../core/errors.js';
import type { ApiClient, RunView } from './api-client.js';
import { type CommandContext, type ConnectionOptions, connect } from './command-context.js';
import { dryRunText, dryRunView } from './dry-run.js';
import { EXIT } from './exit-code.js';
import { followRun } from './follow-run.js';
import { readRecipeFile } from './recipe-source.js';

/** Options of `star run`. */
export interface RunOptions extends ConnectionOptions {
  readonly set: readonly string[];
  readonly seed?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `star run RECIPE`. @returns exit code */
export async function runCommand(context: CommandContext, path: string, options: RunOptions): Promise<number> {
  const assignments = options.seed === undefined ? options.set : [...options.set, `seed=${options.seed}`];
  const source = readRecipeFile(path, assignments);
  if (options.dryRun === true) {
    const view = dryRunView(source.recipe);
    context.output.print(options.json === true ? JSON.stringify(view, null, 2) : dryRunText(view));
    return EXIT.ok;
  }
  return withRun(context, options, (client) => client.createRun(source.text));
}

/** `star resume RUN`. @returns exit code */
export function resumeCommand(
  context: CommandContext,
  runId: string,
  options: ConnectionOptions & { readonly json?: boolean },
): Promise<number> {
  return withRun(context, options, (client) => client.resumeRun(runId));
}

/** Connects, starts the run, follows it and reports. Everything that was started here is stopped at the end. */
async function withRun(
  context: CommandContext,
  options: ConnectionOptions & { readonly json?: boolean },
  begin: (client: ApiClient) => Promise<RunView>,
): Promise<number> {
  const interrupts = watchInterrupts(context);
  const connection = await connect(context, options, 'work');
  try {
    const { client, plane } = connection;
    const run = await begin(client);
    context.output.note(`run ${run.runId} at ${client.url}${plane === null ? '' : `, logs in ${plane.dataDir}`}`);
    interrupts.onFirst(async () => {
      context.output.note(
        'stopping after a checkpoint; Ctrl-C again ends at once (the run then goes back to its last checkpoint)',
      );
      await client.stopRun(run.runId);
    });
    const end = await followRun(client, run, { output: context.output, interrupted: interrupts.failed });
    return await conclude(context, end, { report: () => client.writeReport(run.runId), options });
  } finally {
    interrupts.end();
    await connection.close();
  }
}

interface Interrupts {
  /** What the first Ctrl-C does from now on; done at once when it came earlier. */
  onFirst(stop: () => Promise<void>): void;
  /** Aborts when the stop could not even be asked for. */
  readonly failed: AbortSignal;
  end(): void;
}

/** First Ctrl-C: graceful stop. Second: the process ends at once. */
function watchInterrupts(context: CommandContext): Interrupts {
  const failed = new AbortController();
  let count = 0;
  let stop: (() => Promise<void>) | null = null;
  const ask = (): void => {
    stop?.().catch((error: unknown) => {
      context.output.note(`error: ${StarError.from(error).message}`);
      failed.abort();
    });
  };
  const end = context.onInterrupt(() => {
    count += 1;
    if (count > 1) context.exitNow(EXIT.interrupted);
    ask();
  });
  return {
    failed: failed.signal,
    end,
    onFirst: (action) => {
      stop = action;
      if (count > 0) ask();
    },
  };
}

interface Conclusion {
  /** Writes the report files and gives the path of the page. */
  readonly report: () => Promise<string>;
  readonly options: ConnectionOptions & { readonly json?: boolean };
}

async function conclude({ output }: CommandContext, run: RunView, { report, options }: Conclusion): Promise<number> {
  const { runId, state, failure } = run;
  if (state === 'SUCCEEDED') {
    const path = await report();
    output.print(options.json === true ? JSON.stringify({ runId, state, report: path }) : `report: ${path}`);
    return EXIT.ok;
  }
  if (options.json === true) output.print(JSON.stringify({ runId, state, failure }));
  const place = options.dataDir === undefined ? '' : ` --data-dir ${options.dataDir}`;
  const resume = `go on with: star resume ${runId}${place}`;
  if (state === 'FAILED') {
    output.note(`error: ${failure ?? 'the run failed'}`);
    output.note(`after removing the cause, ${resume}`);
    return EXIT.failure;
  }
  if (failure !== null) output.note(`held: ${failure}`);
  const where = state === 'STOPPED' ? 'stopped' : `the run is ${state},`;
  output.note(`${where} after iteration ${run.completedIterations} of ${run.iterations}; ${resume}`);
  return EXIT.interrupted;
}
