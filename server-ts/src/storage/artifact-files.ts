import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { StarError } from '../core/errors.js';
import type { ArtifactStore } from '../pipeline/ports.js';

/** File operations that a write needs; replaced in tests that fill the disk. */
export interface FileOperations {
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  open(path: string, flags: string): Promise<Pick<FileHandle, 'writeFile' | 'sync' | 'close'>>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { force: true }): Promise<void>;
}

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;

/** Artifacts as files: `<root>/<run id>/<path>`. A file is there completely or not at all. */
export class ArtifactFiles implements ArtifactStore {
  readonly #root: string;
  #writes = 0;

  /** @param root folder of all runs; created when the first file is written */
  constructor(
    root: string,
    private readonly files: FileOperations = { mkdir, open, rename, rm },
  ) {
    this.#root = resolve(root);
  }

  async put(runId: string, path: string, data: Uint8Array): Promise<void> {
    const target = this.locate(runId, path);
    this.#writes += 1;
    const temporary = `${target}.${process.pid}-${this.#writes}.tmp`;
    try {
      await this.files.mkdir(dirname(target), { recursive: true });
      await this.#write(temporary, data);
      await this.files.rename(temporary, target);
    } catch (error) {
      await this.files.rm(temporary, { force: true }).catch(() => undefined);
      throw storageFailed(target, data.byteLength, error);
    }
  }

  async get(runId: string, path: string): Promise<Uint8Array> {
    const target = this.locate(runId, path);
    try {
      return await readFile(target);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'NOT_FOUND' : 'STORAGE_FAILED';
      throw new StarError(
        reason,
        `cannot read ${path} of run ${runId}: ${StarError.from(error).message}`,
        { runId },
        error,
      );
    }
  }

  /** @throws StarError ARGUMENT_INVALID when a part of the path is empty, starts with a dot or has an unusual character */
  locate(runId: string, path?: string): string {
    const segments = [runId, ...(path === undefined ? [] : path.split('/'))];
    const bad = segments.find((segment) => !SEGMENT.test(segment));
    if (bad !== undefined) {
      throw new StarError(
        'ARGUMENT_INVALID',
        `artifact paths have parts of letters, digits, "_", "-" and ".", received ${JSON.stringify(bad)}`,
      );
    }
    return join(this.#root, ...segments);
  }

  async #write(path: string, data: Uint8Array): Promise<void> {
    const handle = await this.files.open(path, 'wx');
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function storageFailed(path: string, byteCount: number, error: unknown): StarError {
  const full = (error as NodeJS.ErrnoException).code === 'ENOSPC' ? '; free some disk space and resume the run' : '';
  return new StarError(
    'STORAGE_FAILED',
    `cannot write ${path} (${byteCount} bytes): ${StarError.from(error).message}${full}`,
    {},
    error,
  );
}
