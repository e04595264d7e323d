import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StarError } from '../core/errors.js';
import { WorkerProcess } from './worker-process.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-worker-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function build(
  program: string,
  script: string,
  onEvent: (name: string) => void = () => undefined,
): {
  worker: WorkerProcess;
  gaveUp: Promise<StarError>;
  logPath: string;
} {
  const logPath = join(folder, 'worker.log');
  const { promise, resolve } = Promise.withResolvers<StarError>();
  const command = { program, args: ['-e', script], cwd: folder, env: process.env, logPath };
  return { worker: new WorkerProcess(command, onEvent, resolve), gaveUp: promise, logPath };
}

describe('WorkerProcess', () => {
  it('starts a dying worker again, then gives up and names the log', async () => {
    const { worker, gaveUp, logPath } = build(process.execPath, 'console.log("alive"); process.exit(3)');
    worker.start();
    const error = await gaveUp;
    expect(error.message).toContain('3 times in a row (last: exit code 3)');
    expect(error.message).toContain(logPath);
    expect(readFileSync(logPath, 'utf8')).toBe('alive\nalive\nalive\n');
    expect(worker.pid).toBeNull();
  });

  it('gives up on a program that does not exist', async () => {
    const { worker, gaveUp } = build(join(folder, 'no-python'), '');
    worker.start();
    expect((await gaveUp).message).toContain('ENOENT');
  });

  it('stops a worker without starting it again', async () => {
    const events: string[] = [];
    const { worker } = build(process.execPath, 'setInterval(() => {}, 1000)', (name) => events.push(name));
    worker.start();
    await worker.stop();
    expect(worker.pid).toBeNull();
    expect(events).toEqual(['process_started', 'process_exited']);
  });
});
