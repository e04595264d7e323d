import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { StarError } from '../../core/errors.js';
import { nearestName } from '../../core/nearest-name.js';
import type { BundleCertificate } from './bundle-check.js';
import { NPM_PREFIX } from './bundle-files.js';
import { goldenPictures } from './golden-cases.js';
import { filesOf } from './manifest.js';
import { loadScorerBundle, readDeclaredBundle } from './scorer-bundle.js';

/** A bundle that can be named in a recipe. */
export interface BundleEntry {
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly bundleHash: string;
  /** Absolute path. */
  readonly folder: string;
  /** `shipped`: in the repository; `stored`: added to the data folder; `folder`: named by its path. */
  readonly origin: 'shipped' | 'stored' | 'folder';
  /** Null: never checked here. */
  readonly certificate: BundleCertificate | null;
}

/** A folder that looks like a bundle and is none. */
export interface BrokenBundle {
  readonly folder: string;
  readonly problem: string;
}

const CERTIFICATE = 'certificate.json';
const HASH_PREFIX = /^[0-9a-f]{6,64}$/;

/**
 * Bundles by content: `<root>/<bundle hash>/` holds the files of one bundle and its certificate. Those of the repository are
 * listed too; only their certificates are stored.
 */
export class BundleStore {
  /**
   * @param root folder of stored bundles, made when the first one comes
   * @param repoRoot folder that relative paths start from; its `scorers/` holds the shipped ones
   */
  constructor(
    private readonly root: string,
    private readonly repoRoot: string,
  ) {}

  /** All bundles by name, stored ones after shipped ones, and the folders that are none. */
  async list(): Promise<{ bundles: BundleEntry[]; broken: BrokenBundle[] }> {
    const bundles: BundleEntry[] = [];
    const broken: BrokenBundle[] = [];
    for (const { folder, origin } of await this.#folders()) {
      try {
        bundles.push(await this.#describe(folder, origin));
      } catch (error) {
        broken.push({ folder, problem: StarError.from(error).message });
      }
    }
    return { bundles: bundles.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)), broken };
  }

  /**
   * Folder of a bundle.
   *
   * @param reference path of a folder, `name`, `name@version`, or the first characters of a bundle hash
   * @throws StarError SCORER_NOT_LOADABLE that lists near names, or the bundles that the reference may mean
   */
  async locate(reference: string): Promise<string> {
    const folder = resolve(this.repoRoot, reference);
    if (existsSync(join(folder, 'manifest.yaml')) || reference.includes('/')) return folder;
    return (await this.find(reference)).folder;
  }

  /** As `locate`, with everything that is known of it. */
  async find(reference: string): Promise<BundleEntry> {
    const folder = resolve(this.repoRoot, reference);
    if (existsSync(join(folder, 'manifest.yaml'))) return this.#describe(folder, 'folder');
    return pick((await this.list()).bundles, reference);
  }

  /**
   * A bundle of the data folder, also where a shipped one has its name.
   *
   * @throws StarError STATE_CONFLICT for a shipped one, SCORER_NOT_LOADABLE as `locate`
   */
  async findStored(reference: string): Promise<BundleEntry> {
    const { bundles } = await this.list();
    const stored = bundles.filter(({ origin }) => origin === 'stored');
    if (stored.some((bundle) => isMeant(bundle, reference))) return pick(stored, reference);
    const { name, folder } = pick(bundles, reference);
    throw new StarError('STATE_CONFLICT', `${name} is part of the repository (${folder}) and stays there`);
  }

  /**
   * Copies a checked bundle in. Adding it again changes nothing but its certificate.
   *
   * @param folder absolute path of what the certificate was made for
   * @throws StarError STORAGE_FAILED; nothing is left half written
   */
  async add(folder: string, certificate: BundleCertificate): Promise<BundleEntry> {
    const { bundleHash } = certificate.lineage;
    const target = join(this.root, bundleHash);
    if (!existsSync(join(target, 'manifest.yaml'))) await this.#copy(folder, target);
    await this.certify(certificate);
    return this.#describe(target, 'stored');
  }

  /** Stores the certificate of a bundle, wherever the bundle itself lies. */
  async certify(certificate: BundleCertificate): Promise<void> {
    const folder = join(this.root, certificate.lineage.bundleHash);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, CERTIFICATE), `${JSON.stringify(certificate, null, 2)}\n`);
  }

  /** @throws StarError as `findStored` */
  async remove(reference: string): Promise<BundleEntry> {
    const entry = await this.findStored(reference);
    await rm(entry.folder, { recursive: true });
    return entry;
  }

  async #folders(): Promise<{ folder: string; origin: BundleEntry['origin'] }[]> {
    const shipped = await subfolders(join(this.repoRoot, 'scorers'));
    const stored = await subfolders(this.root);
    return [
      ...shipped.map((folder) => ({ folder, origin: 'shipped' as const })),
      ...stored.map((folder) => ({ folder, origin: 'stored' as const })),
    ];
  }

  async #describe(folder: string, origin: BundleEntry['origin']): Promise<BundleEntry> {
    const { manifest, bundleHash } = await readDeclaredBundle(folder);
    const { name, version, kind } = manifest;
    return { name, version, kind, bundleHash, folder, origin, certificate: await this.#certificate(bundleHash) };
  }

  async #certificate(bundleHash: string): Promise<BundleCertificate | null> {
    const text = await readFile(join(this.root, bundleHash, CERTIFICATE), 'utf8').catch(() => null);
    return text === null ? null : (JSON.parse(text) as BundleCertificate);
  }

  async #copy(folder: string, target: string): Promise<void> {
    await mkdir(this.root, { recursive: true });
    const aside = await mkdtemp(join(this.root, 'adding-'));
    try {
      for (const path of await filesToCopy(folder)) {
        await mkdir(dirname(join(aside, path)), { recursive: true });
        await cp(join(folder, path), join(aside, path), { dereference: true });
      }
      await rename(aside, target).catch(async (error: unknown) => {
        // A certificate of an earlier check may lie there.
        if (existsSync(join(target, 'manifest.yaml')) || !existsSync(target)) throw error;
        await rm(target, { recursive: true });
        await rename(aside, target);
      });
    } catch (error) {
      throw new StarError(
        'STORAGE_FAILED',
        `cannot copy ${folder} to ${target}: ${StarError.from(error).message}`,
        {},
        error,
      );
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  }
}

/** Everything that belongs to a bundle, relative to its folder; files of packages stay in their packages. */
async function filesToCopy(folder: string): Promise<string[]> {
  const { manifest, locate } = await loadScorerBundle(folder);
  const own = filesOf(manifest).filter(({ path }) => !path.startsWith(NPM_PREFIX));
  const files = ['manifest.yaml', ...own.map((entry) => relative(folder, locate(entry)))];
  if (manifest.golden !== undefined && own.includes(manifest.golden)) {
    const pictures = await goldenPictures(manifest.golden, locate);
    files.push(...pictures.map((path) => relative(folder, path)));
  }
  return [...new Set(files)];
}

async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  return folders.filter((path) => existsSync(join(path, 'manifest.yaml'))).sort();
}

/** @throws StarError SCORER_NOT_LOADABLE when the reference means none of the bundles, or several */
function pick(bundles: readonly BundleEntry[], reference: string): BundleEntry {
  const found = bundles.filter((bundle) => isMeant(bundle, reference));
  const [first] = found;
  if (first !== undefined && new Set(found.map(({ bundleHash }) => bundleHash)).size === 1) return first;
  const why = first === undefined ? unknown(reference, bundles) : ambiguous(reference, found);
  throw new StarError('SCORER_NOT_LOADABLE', why);
}

/** Whether a name, `name@version` or the first characters of a hash may mean a bundle. */
export function isMeant({ name, version, bundleHash }: BundleEntry, reference: string): boolean {
  if (reference === name || reference === `${name}@${version}`) return true;
  return HASH_PREFIX.test(reference) && bundleHash.startsWith(reference);
}

function unknown(reference: string, bundles: readonly BundleEntry[]): string {
  const names = [...new Set(bundles.map(({ name }) => name))];
  const near = nearestName(reference, names);
  const hint = near === null ? `there are: ${names.join(', ')}` : `did you mean ${near}?`;
  return `no scorer bundle "${reference}": it is neither a folder with manifest.yaml nor a known name; ${hint}`;
}

function ambiguous(reference: string, found: readonly BundleEntry[]): string {
  const list = found.map(({ name, version, bundleHash }) => `${name}@${version} (${bundleHash.slice(0, 12)})`);
  return `"${reference}" may mean ${list.join(' or ')}; give the version or the first characters of the hash`;
}
