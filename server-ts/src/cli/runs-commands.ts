import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StarError } from '../core/errors.js';
import type { ApiClient, RunView } from './api-client.js';
import {
  type CommandContext,
  type ConnectionOptions,
  connect,
  dataDirOf,
  findServer,
  requireServer,
} from './command-context.js';
import { EXIT } from './exit-code.js';
import { textTable } from './text-table.js';

/** Options of the commands that look at runs. */
export type ViewOptions = ConnectionOptions & { readonly json?: boolean };

/** `star runs`. @returns exit code */
export async function runsCommand(context: CommandContext, options: ViewOptions): Promise<number> {
  const runs = await reading(context, options, (client) => client.listRuns());
  if (options.json === true) context.output.print(JSON.stringify({ runs }, null, 2));
  else context.output.print(runs.length === 0 ? 'no runs yet; start one with: star run RECIPE' : runTable(runs));
  return EXIT.ok;
}

/** `star show RUN`. @returns exit code */
export async function showCommand(context: CommandContext, runId: string, options: ViewOptions): Promise<number> {
  const shown = await reading(context, options, async (client) => ({
    run: await client.getRun(runId),
    metrics: await client.metrics(runId),
    report: await client.report(runId),
  }));
  context.output.print(options.json === true ? JSON.stringify(shown, null, 2) : showText(shown));
  return EXIT.ok;
}

/** `star stop RUN`. @returns exit code */
export async function stopCommand(context: CommandContext, runId: string, options: ViewOptions): Promise<number> {
  const run = await requireServer(context, options).stopRun(runId);
  if (options.json === true) context.output.print(JSON.stringify(run, null, 2));
  else context.output.print(`${run.runId} is ${run.state}; go on later with: star resume ${run.runId}`);
  return EXIT.ok;
}

/** Reads from the running control plane, or from the data folder when none runs. Never creates a data folder. */
export async function reading<T>(
  context: CommandContext,
  options: ViewOptions,
  work: (client: ApiClient) => Promise<T>,
): Promise<T> {
  const dataDir = dataDirOf(context, options);
  if (findServer(context, options) === null && !existsSync(join(dataDir, 'star.db'))) {
    throw new StarError(
      'NOT_FOUND',
      `there are no runs in ${dataDir}; start one with \`star run RECIPE\`, or name another folder with --data-dir`,
    );
  }
  const connection = await connect(context, options, 'read');
  try {
    return await work(connection.client);
  } finally {
    await connection.close();
  }
}

function runTable(runs: readonly RunView[]): string {
  const rows = runs.map((run) => [
    run.runId,
    run.name,
    run.state,
    `${run.completedIterations}/${run.iterations}`,
    run.createdAt,
  ]);
  return textTable([['RUN', 'RECIPE', 'STATE', 'ITERATIONS', 'CREATED'], ...rows]);
}

interface Shown {
  readonly run: RunView;
  readonly metrics: readonly { readonly iteration: number; readonly name: string; readonly value: number }[];
  readonly report: unknown;
}

function showText({ run, metrics, report }: Shown): string {
  const last = new Map(metrics.map((point) => [point.name, point.value]));
  const series = [...last].map(([name, value]) => `  ${name.padEnd(36)} ${Number(value.toPrecision(6))}`);
  const { evaluation } = report as { evaluation: { accuracyBefore: number | null; accuracyAfter: number | null } };
  const percent = (value: number | null): string => (value === null ? '-' : `${(100 * value).toFixed(1)}%`);
  return [
    `${run.runId}  ${run.name}  ${run.state}  iteration ${run.completedIterations}/${run.iterations}  policy checkpoint ${run.checkpointVersion}`,
    ...(run.failure === null ? [] : [`failure: ${run.failure}`]),
    `strict accuracy: ${percent(evaluation.accuracyBefore)} before, ${percent(evaluation.accuracyAfter)} after`,
    ...(series.length === 0 ? [] : ['metrics of the last iteration:', ...series]),
  ].join('\n');
}
