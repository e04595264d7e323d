import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StarError } from './core/errors.js';
import type { RunStore } from './pipeline/ports.js';
import { type BundleCertificate, checkBundle } from './scoring/bundle/bundle-check.js';
import { type BrokenBundle, type BundleEntry, BundleStore, isMeant } from './scoring/bundle/bundle-store.js';
import { openDatabase } from './storage/database.js';
import { SqliteRunStore } from './storage/sqlite-run-store.js';

/** What `star scorers` does, with or without a control plane on the data folder. */

/** Repository root: its `scorers/` holds the shipped bundles. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs that are looked at before a bundle is removed. */
const MOST_RUNS = 10_000;

/** Bundles of a data folder, and the shipped ones. */
export function bundleStore(dataDir: string): BundleStore {
  return new BundleStore(join(resolve(dataDir), 'scorers'), ROOT);
}

/** A folder of the working directory as absolute path; names and hashes as they are. */
export function bundleReference(text: string): string {
  return existsSync(join(text, 'manifest.yaml')) ? resolve(text) : text;
}

/** All bundles that a recipe can name, and folders that look like one and are none. */
export function listBundles(dataDir: string): Promise<{ bundles: BundleEntry[]; broken: BrokenBundle[] }> {
  return bundleStore(dataDir).list();
}

/** @throws StarError SCORER_NOT_LOADABLE for an unknown reference */
export function showBundle(dataDir: string, reference: string): Promise<BundleEntry> {
  return bundleStore(dataDir).find(bundleReference(reference));
}

/**
 * Tries a bundle and stores the certificate, whether it passed or not.
 *
 * @throws StarError SCORER_NOT_LOADABLE when it cannot be loaded
 */
export async function checkScorerBundle(dataDir: string, reference: string): Promise<BundleCertificate> {
  const store = bundleStore(dataDir);
  const certificate = await checkBundle(await store.locate(bundleReference(reference)), new Date().toISOString());
  await store.certify(certificate);
  return certificate;
}

/**
 * Checks a bundle folder and copies it into the data folder.
 *
 * @throws StarError SCORER_NOT_LOADABLE when it cannot be loaded or a golden case does not hold: nothing is copied then
 */
export async function addScorerBundle(dataDir: string, folder: string): Promise<BundleEntry> {
  const certificate = await checkBundle(resolve(folder), new Date().toISOString());
  if (!certificate.passed) {
    const failures = certificate.golden.failures.join('; ');
    throw new StarError('SCORER_NOT_LOADABLE', `${folder} is not added: its golden cases do not hold: ${failures}`);
  }
  return bundleStore(dataDir).add(resolve(folder), certificate);
}

/**
 * Removes a bundle of the data folder.
 *
 * @param force also where runs need it: their pictures can then not be scored again by it
 * @throws StarError STATE_CONFLICT for a shipped one, and for one that scored a run or that a run which is not over names
 */
export async function removeScorerBundle(dataDir: string, reference: string, force: boolean): Promise<BundleEntry> {
  const store = bundleStore(dataDir);
  const entry = await store.findStored(reference);
  const runIds = force ? [] : runsThatNeed(dataDir, entry);
  if (runIds.length > 0) {
    throw new StarError(
      'STATE_CONFLICT',
      `${entry.name}@${entry.version} is what ${runIds.join(', ')} was or will be scored by; add --force to remove it nevertheless`,
    );
  }
  return store.remove(reference);
}

function runsThatNeed(dataDir: string, entry: BundleEntry): string[] {
  const path = join(resolve(dataDir), 'star.db');
  if (!existsSync(path)) return [];
  const database = openDatabase(path);
  try {
    const runs = new SqliteRunStore(database, () => new Date().toISOString());
    return [...new Set([...runs.runsScoredBy(entry.bundleHash), ...openRunsNaming(runs, entry)])];
  } finally {
    database.close();
  }
}

/** Runs that may go on and whose reward, in any version, may mean the bundle. */
function openRunsNaming(runs: RunStore, entry: BundleEntry): string[] {
  const open = runs.listRuns(MOST_RUNS).filter(({ state }) => state !== 'SUCCEEDED');
  const named = ({ bundle }: { readonly bundle: string | null }): boolean =>
    bundle !== null && (isMeant(entry, bundle) || resolve(ROOT, bundle) === entry.folder);
  return open
    .filter(({ runId }) => runs.rewardVersions(runId).some(({ reward }) => reward.components.some(named)))
    .map(({ runId }) => runId);
}
