import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeDetectorBundle } from '../fixtures/detector-bundle.js';
import { checkBundle } from './bundle-check.js';
import { BundleStore } from './bundle-store.js';

const SHIPPED = fileURLToPath(new URL('../../../../scorers', import.meta.url));
const NOW = '2026-01-01T00:00:00.000Z';

let folder = '';
let store: BundleStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-bundles-'));
  store = new BundleStore(join(folder, 'stored'), join(folder, 'repository'));
  await writeDetectorBundle(join(folder, 'repository/scorers/shipped'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A bundle of its own content: another name, or another version. */
async function otherBundle(place: string, name: string, version = '1'): Promise<string> {
  const path = join(folder, place);
  await writeDetectorBundle(path);
  const manifest = await readFile(join(path, 'manifest.yaml'), 'utf8');
  const changed = manifest.replace('hand-made-detector', name).replace(/version: .*/, `version: "${version}"`);
  await writeFile(join(path, 'manifest.yaml'), changed);
  return path;
}

const add = async (path: string) => store.add(path, await checkBundle(path, NOW));

describe('a stored bundle', () => {
  it('is found by name, by version and by hash, and is a copy', async () => {
    const entry = await add(await otherBundle('mine', 'my-detector', '2'));
    await rm(join(folder, 'mine'), { recursive: true });
    for (const reference of ['my-detector', 'my-detector@2', entry.bundleHash, entry.bundleHash.slice(0, 8)]) {
      expect(await store.locate(reference)).toBe(join(folder, 'stored', entry.bundleHash));
    }
    expect((await readdir(entry.folder)).sort()).toEqual(['certificate.json', 'manifest.yaml', 'model.onnx']);
    expect(await store.find('my-detector')).toMatchObject({
      origin: 'stored',
      certificate: { passed: true, checkedAt: NOW },
    });
  });

  it('is stored once, however often it is added', async () => {
    const path = await otherBundle('mine', 'my-detector');
    const [first, second] = [await add(path), await add(path)];
    expect(second.folder).toBe(first.folder);
    expect((await store.list()).bundles.map(({ name }) => name)).toEqual(['hand-made-detector', 'my-detector']);
  });

  it('is found beside the certificate of an earlier check', async () => {
    const path = await otherBundle('mine', 'my-detector');
    await store.certify(await checkBundle(path, NOW));
    expect((await store.list()).bundles).toHaveLength(1);
    expect((await add(path)).origin).toBe('stored');
  });

  it('is gone after it was removed; a shipped one stays', async () => {
    await add(await otherBundle('mine', 'my-detector'));
    await store.remove('my-detector');
    expect((await store.list()).bundles.map(({ origin }) => origin)).toEqual(['shipped']);
    await expect(store.remove('hand-made-detector')).rejects.toMatchObject({ reason: 'STATE_CONFLICT' });
  });
});

it('removes the stored copy of a shipped bundle, and the shipped one stays', async () => {
  const { bundleHash } = await add(join(folder, 'repository/scorers/shipped'));
  expect(await store.remove('hand-made-detector')).toMatchObject({ origin: 'stored', bundleHash });
  expect((await store.list()).bundles.map(({ origin }) => origin)).toEqual(['shipped']);
});

describe('a reference', () => {
  it('that nothing has names the nearest bundle', async () => {
    await expect(store.locate('hand-made-detektor')).rejects.toMatchObject({
      reason: 'SCORER_NOT_LOADABLE',
      message: expect.stringContaining('did you mean hand-made-detector?'),
    });
  });

  it('that two versions have asks for one of them', async () => {
    await add(await otherBundle('one', 'my-detector', '1'));
    await add(await otherBundle('two', 'my-detector', '2'));
    await expect(store.locate('my-detector')).rejects.toThrow(/my-detector@1 \(.*my-detector@2 \(/);
    expect((await store.find('my-detector@2')).version).toBe('2');
  });

  it('is a folder when it looks like one', async () => {
    expect(await store.locate('scorers/shipped')).toBe(join(folder, 'repository/scorers/shipped'));
    expect(await store.locate('scorers/none')).toBe(join(folder, 'repository/scorers/none'));
    expect((await store.find(await otherBundle('mine', 'my-detector'))).origin).toBe('folder');
  });
});

it('lists a folder with a damaged manifest apart', async () => {
  await mkdir(join(folder, 'stored/broken'), { recursive: true });
  await writeFile(join(folder, 'stored/broken/manifest.yaml'), 'name: [');
  const { bundles, broken } = await store.list();
  expect(bundles).toHaveLength(1);
  expect(broken).toEqual([
    { folder: join(folder, 'stored/broken'), problem: expect.stringContaining('manifest.yaml') },
  ]);
});

describe('a check', () => {
  it.each(['tiny-world-detector', 'ppocr-v4', 'tiny-world-image-text'])('of the shipped %s passes', async (name) => {
    const certificate = await checkBundle(join(SHIPPED, name), NOW);
    expect(certificate).toMatchObject({ passed: true, name, golden: { failures: [] } });
    expect(certificate.graphs.length).toBeGreaterThan(0);
    expect(certificate.picturesPerSecond).toBeGreaterThan(0);
  });

  it('copies the golden pictures along, and names the case that does not hold', async () => {
    const copy = join(folder, 'copy');
    await cp(join(SHIPPED, 'tiny-world-detector'), copy, { recursive: true });
    const { folder: stored } = await add(copy);
    expect(await readdir(join(stored, 'golden'))).toContain('counting-right.png');
    const manifest = await readFile(join(copy, 'manifest.yaml'), 'utf8');
    await writeFile(join(copy, 'manifest.yaml'), manifest.replace(' threshold: 0.3', ' threshold: 1.0'));
    const certificate = await checkBundle(copy, NOW);
    expect(certificate.passed).toBe(false);
    expect(certificate.golden.failures).toContainEqual(expect.stringMatching(/^colors-right: expected strict = 1/));
  });

  it('tells the opset of a graph, and scores outside the value range of the manifest', async () => {
    const copy = join(folder, 'copy');
    await cp(join(SHIPPED, 'tiny-world-detector'), copy, { recursive: true });
    expect(await checkBundle(copy, NOW)).toMatchObject({ graphs: [{ opset: 17 }], warnings: [] });
    const manifest = await readFile(join(copy, 'manifest.yaml'), 'utf8');
    await writeFile(join(copy, 'manifest.yaml'), manifest.replace(/valueRange: .*/, 'valueRange: [-16, 0.5]'));
    const { passed, warnings } = await checkBundle(copy, NOW);
    expect(passed).toBe(true);
    expect(warnings).toContain('colors-right: score 1 is outside the value range -16 to 0.5 of the manifest');
  });

  it('refuses a golden picture that is a link out of the bundle', async () => {
    const copy = join(folder, 'copy');
    await cp(join(SHIPPED, 'tiny-world-detector'), copy, { recursive: true });
    await rename(join(copy, 'golden/colors-right.png'), join(folder, 'elsewhere.png'));
    await symlink('../../elsewhere.png', join(copy, 'golden/colors-right.png'));
    await expect(checkBundle(copy, NOW)).rejects.toMatchObject({
      reason: 'SCORER_NOT_LOADABLE',
      message: expect.stringMatching(/link to .*elsewhere\.png, outside the bundle/),
    });
  });

  it('refuses a changed golden picture', async () => {
    const copy = join(folder, 'copy');
    await cp(join(SHIPPED, 'tiny-world-detector'), copy, { recursive: true });
    await writeFile(join(copy, 'golden/colors-right.png'), 'other');
    await expect(checkBundle(copy, NOW)).rejects.toMatchObject({ reason: 'SCORER_NOT_LOADABLE' });
  });

  it.each([
    ['missing scores', 'SCORER_NOT_LOADABLE', /lacks scores/],
    ['float32 classes', 'TENSOR_INVALID', /classes must be int64 .*received float32/],
  ] as const)('refuses a graph with %s', async (wrongOutput, reason, message) => {
    await writeDetectorBundle(join(folder, 'wrong'), { wrongOutput });
    await expect(checkBundle(join(folder, 'wrong'), NOW)).rejects.toMatchObject({
      reason,
      message: expect.stringMatching(message),
    });
  });

  it('refuses a graph whose output is not finite', async () => {
    await writeDetectorBundle(join(folder, 'nan'), { score: Number.NaN });
    await expect(checkBundle(join(folder, 'nan'), NOW)).rejects.toMatchObject({ reason: 'SCORE_NOT_FINITE' });
  });
});
