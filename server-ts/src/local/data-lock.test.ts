import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireDataLock, findHolder } from './data-lock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('acquireDataLock', () => {
  it('refuses a second control plane and names the first one', () => {
    const lock = acquireDataLock(folder);
    lock.publish('http://127.0.0.1:8080');
    expect(() => acquireDataLock(folder)).toThrow(
      expect.objectContaining({ reason: 'STATE_CONFLICT', message: expect.stringContaining('http://127.0.0.1:8080') }),
    );
    expect(findHolder(folder)?.pid).toBe(process.pid);
    lock.release();
    expect(findHolder(folder)).toBeNull();
    acquireDataLock(folder).release();
  });

  it('takes over the lock of a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    const stale = { pid: child.pid, processStart: '1', url: null };
    writeFileSync(join(folder, 'control-plane.json'), JSON.stringify(stale));
    acquireDataLock(folder);
    expect(JSON.parse(readFileSync(join(folder, 'control-plane.json'), 'utf8')).pid).toBe(process.pid);
  });

  it('takes over a lock whose process id was given to another process', () => {
    writeFileSync(
      join(folder, 'control-plane.json'),
      JSON.stringify({ pid: process.pid, processStart: 'earlier', url: null }),
    );
    expect(findHolder(folder)).toBeNull();
    acquireDataLock(folder).release();
  });

  it('takes over a damaged lock file', () => {
    writeFileSync(join(folder, 'control-plane.json'), '{"pid":');
    acquireDataLock(folder).release();
  });
});
