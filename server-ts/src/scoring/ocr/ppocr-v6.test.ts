import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { loadScorerBundle, type ScorerBundle } from '../bundle/scorer-bundle.js';
import { decodePng } from '../image/rgb-image.js';
import type { OcrManifest } from './ocr-manifest.js';
import { openTextReader } from './text-reader.js';

vi.setConfig({ testTimeout: 120_000 });

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const python = join(root, '.venv/bin/python');

/** The weights come from a Python package of the development environment. */
function hasWeights(): boolean {
  if (!existsSync(python)) return false;
  const find = "import importlib.util as u; print(u.find_spec('rapidocr') is not None)";
  return execFileSync(python, ['-c', find], { encoding: 'utf8' }).trim() === 'True';
}

test.skipIf(!hasWeights())('PP-OCRv6 reads by the same manifest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'star-test-'));
  try {
    execFileSync(python, [join(root, 'scripts/make_ppocr_v6.py'), folder]);
    const bundle = (await loadScorerBundle(folder)) as ScorerBundle<OcrManifest>;
    const reader = await openTextReader(bundle);
    const image = await decodePng(await readFile(new URL('../fixtures/word-stop.png', import.meta.url)));
    const lines = await reader.read(image);
    await reader.close();
    expect(lines.map(({ text }) => text)).toEqual(['STOP']);
  } finally {
    await rm(folder, { recursive: true });
  }
});
