import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { writeDetectorBundle } from './fixtures/detector-bundle.js';
import { openSession, runtimeInUse } from './onnx-session.js';

afterEach(() => vi.unstubAllEnvs());

test('names the device; without the CUDA library graphs run on the CPU, and the runtime says why', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'star-test-'));
  await writeDetectorBundle(folder);
  expect(runtimeInUse()).toMatch(/^onnxruntime-node \d+\.\d+\.\d+ cpu$/);
  vi.stubEnv('STAR_SCORER_DEVICE', 'gpu');
  await expect(openSession(join(folder, 'model.onnx'))).rejects.toThrow(
    'STAR_SCORER_DEVICE is "gpu"; expected cpu or cuda',
  );
  vi.stubEnv('STAR_SCORER_DEVICE', 'cuda');
  const session = await openSession(join(folder, 'model.onnx'));
  expect(session.outputNames).toContain('scores');
  expect(runtimeInUse()).toMatch(/ cuda$| cpu \(cuda was asked for: .+\)$/);
  await session.release();
  await rm(folder, { recursive: true });
});
