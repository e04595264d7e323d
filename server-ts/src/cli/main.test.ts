import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const STAR = fileURLToPath(new URL('../../../bin/star', import.meta.url));
const TIMEOUT_MS = 60_000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-bin-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(STAR, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function finish(child: ChildProcess): Promise<{ code: number; stdout: string; stderr: string }> {
  const parts = { stdout: '', stderr: '' };
  child.stdout?.on('data', (data) => (parts.stdout += data));
  child.stderr?.on('data', (data) => (parts.stderr += data));
  const [code] = await once(child, 'close');
  return { code, ...parts };
}

const firstLine = async (child: ChildProcess): Promise<string> =>
  String((await once(child.stdout as object as never, 'data'))[0]);

describe('bin/star', { timeout: TIMEOUT_MS }, () => {
  it('tells usage errors from failures by its exit code and names the reason', async () => {
    const [usage, failure, environment] = await Promise.all([
      finish(start(['nonsense'])),
      finish(start(['run', 'none.yaml'])),
      finish(start(['runs'], { STAR_HTTP_PORT: 'web' })),
    ]);
    expect([usage.code, failure.code, environment.code]).toEqual([2, 1, 1]);
    expect(failure.stderr).toMatch(/^error: recipe none.yaml cannot be read: .* \[NOT_FOUND\]\n$/);
    expect(environment.stderr).toContain('STAR_HTTP_PORT');
    expect(failure.stdout).toBe('');
  });

  it('says which Python is missing before a run starts', async () => {
    const recipe = fileURLToPath(new URL('../../../recipes/tiny-ocr-star.yaml', import.meta.url));
    const { code, stderr } = await finish(start(['run', recipe], { STAR_PYTHON: join(folder, 'no/python') }));
    expect(code).toBe(1);
    expect(stderr).toContain('STAR_PYTHON');
    expect(existsSync(join(folder, '.star/control-plane.json'))).toBe(false);
  });

  it('serves, is found by other commands, refuses a second one on its data, and stops at Ctrl-C', async () => {
    const up = start(['up', '--no-worker', '--http-port', '0', '--grpc-port', '0', '--json']);
    const ended = finish(up);
    const { url } = JSON.parse(await firstLine(up));
    expect(await (await fetch(`${url}/v1/status`)).json()).toMatchObject({ worker: null, activeRunId: null });
    const [second, runs] = await Promise.all([
      finish(start(['up', '--no-worker', '--http-port', '0', '--grpc-port', '0'])),
      finish(start(['runs', '--json'])),
    ]);
    expect([second.code, JSON.parse(runs.stdout)]).toEqual([1, { runs: [] }]);
    expect(second.stderr).toContain(`--server ${url}`);
    up.kill('SIGINT');
    expect((await ended).code).toBe(0);
    expect(existsSync(join(folder, '.star/control-plane.json'))).toBe(false);
  });
});
