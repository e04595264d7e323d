import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { StarError } from '../core/errors.js';

const FILE_NAME = 'control-plane.json';

const lockSchema = z.object({
  pid: z.int(),
  /** Start of the process in clock ticks since boot, where the system tells; a reused process id has another one. */
  processStart: z.string().nullable(),
  /** Null until it listens. */
  url: z.string().nullable(),
});

/** Who works on a data folder. */
export type DataLockHolder = z.infer<typeof lockSchema>;

/** The right to work on a data folder. */
export interface DataLock {
  /** Makes the address known to `star` commands on the same data folder. */
  publish(url: string): void;
  release(): void;
}

/** Field 22 of /proc/<pid>/stat; null where there is no such file. */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive(holder: DataLockHolder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return processStart(holder.pid) === holder.processStart;
}

/** The living control plane of a data folder; null when there is none. */
export function findHolder(dataDir: string): DataLockHolder | null {
  let text: string;
  try {
    text = readFileSync(join(dataDir, FILE_NAME), 'utf8');
  } catch {
    return null;
  }
  const parsed = lockSchema.safeParse(tryJson(text));
  return parsed.success && isAlive(parsed.data) ? parsed.data : null;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Takes the lock of a data folder, which it creates. A lock whose process is gone is taken over.
 *
 * @throws StarError STATE_CONFLICT while another control plane works there
 */
export function acquireDataLock(dataDir: string): DataLock {
  mkdirSync(dataDir, { recursive: true });
  const path = join(dataDir, FILE_NAME);
  const own: DataLockHolder = { pid: process.pid, processStart: processStart(process.pid), url: null };
  if (findHolder(dataDir) === null) rmSync(path, { force: true });
  try {
    writeFileSync(path, JSON.stringify(own), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw heldError(dataDir);
  }
  return {
    publish: (url) => writeFileSync(path, JSON.stringify({ ...own, url })),
    release: () => rmSync(path, { force: true }),
  };
}

function heldError(dataDir: string): StarError {
  const holder = findHolder(dataDir);
  const who = holder === null ? 'another process' : `process ${holder.pid}${holder.url ? ` at ${holder.url}` : ''}`;
  const use = holder?.url ? `use it with --server ${holder.url}, ` : '';
  return new StarError(
    'STATE_CONFLICT',
    `the data folder ${dataDir} is in use by ${who}; ${use}stop it, or choose another folder with --data-dir`,
  );
}
