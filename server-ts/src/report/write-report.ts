import type { ArtifactStore, RunStore, StoredRollout, StoredRun } from '../pipeline/ports.js';
import { buildReportData } from './report-data.js';
import { reportHtml } from './report-html.js';
import { readPairs, readStories } from './report-pictures.js';
import type { ReportData } from './report-types.js';
import { readEnvironment, readExport } from './run-files.js';

/** Iterations before the last one that are searched for rollouts with maps. */
const SEARCHED_ITERATIONS = 3;

/** Where reports come from. */
export interface ReportSources {
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
  /** Turns the model path of a recipe into the one for the lines of code, for example an absolute folder. */
  readonly resolveModelPath: (path: string) => string;
  /** Versions of the control plane. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A report in memory. */
export interface BuiltReport {
  readonly data: ReportData;
  readonly html: string;
  /** Content of report.json. */
  readonly json: string;
}

/**
 * Builds the report of a run from what is stored now; it may still be running.
 *
 * @throws StarError NOT_FOUND for an unknown run
 */
export async function buildReport(sources: ReportSources, runId: string, asRun?: StoredRun): Promise<BuiltReport> {
  const { store, artifacts } = sources;
  const run = asRun ?? store.getRun(runId);
  const data = await readReportData(sources, runId, run);
  const pictures = {
    pairs: await readPairs(artifacts, run, store.evaluations(runId)),
    stories: await readStories(artifacts, run, lastRollouts(store, run)),
  };
  return { data, html: reportHtml(data, pictures), json: reportJson(data) };
}

/** Content of report.json. */
export function reportJson(data: ReportData): string {
  return `${JSON.stringify(data, null, 2)}\n`;
}

/**
 * The numbers of a report, without its pictures.
 *
 * @throws StarError NOT_FOUND for an unknown run
 */
export async function readReportData(sources: ReportSources, runId: string, asRun?: StoredRun): Promise<ReportData> {
  const { store, artifacts } = sources;
  const run = asRun ?? store.getRun(runId);
  return buildReportData({
    run,
    evaluations: store.evaluations(runId),
    metrics: store.metrics(runId),
    timings: store.timings(runId),
    rollouts: lastRollouts(store, run),
    export: await readExport(artifacts, runId),
    modelPath: sources.resolveModelPath(run.recipe.model.path),
    environment: { ...sources.environment, ...(await readEnvironment(artifacts, runId)) },
  });
}

/**
 * Writes `report.html` and `report.json` into the folder of the run.
 *
 * @param asRun the run as it is about to become; left out: as it is stored
 * @returns absolute path of report.html
 * @throws StarError NOT_FOUND, STORAGE_FAILED
 */
export async function writeReport(sources: ReportSources, runId: string, asRun?: StoredRun): Promise<string> {
  const { html, json } = await buildReport(sources, runId, asRun);
  await sources.artifacts.put(runId, 'report.json', Buffer.from(json));
  await sources.artifacts.put(runId, 'report.html', Buffer.from(html));
  return sources.artifacts.locate(runId, 'report.html');
}

function lastRollouts(store: RunStore, { runId, completedIterations }: StoredRun): StoredRollout[] {
  const from = Math.max(0, completedIterations - SEARCHED_ITERATIONS);
  const iterations = Array.from({ length: completedIterations - from }, (_, index) => completedIterations - 1 - index);
  return iterations.flatMap((iteration) => store.rollouts(runId, iteration));
}
