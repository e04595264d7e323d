import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArtifactFiles } from './artifact-files.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'star-artifacts-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const bytes = Uint8Array.of(1, 2, 3);
const noSpace = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

/** A disk that is full after `room` bytes: the rest of a write fails, what came before stays in the file. */
function fullDisk(room: number) {
  return {
    mkdir,
    rename,
    rm,
    open: async (path: string, flags: string) => {
      const handle = await open(path, flags);
      return {
        writeFile: async (data: unknown) => {
          await handle.writeFile((data as Uint8Array).subarray(0, room));
          throw noSpace;
        },
        sync: () => handle.sync(),
        close: () => handle.close(),
      };
    },
  };
}

describe('ArtifactFiles', () => {
  it('gives back what was put, in folders made on the way, and replaces a file', async () => {
    const store = new ArtifactFiles(root);
    await store.put('r1', 'rollouts/3/a.png', Uint8Array.of(9));
    await store.put('r1', 'rollouts/3/a.png', bytes);
    expect(new Uint8Array(await store.get('r1', 'rollouts/3/a.png'))).toEqual(bytes);
    expect(readdirSync(join(root, 'r1/rollouts/3'))).toEqual(['a.png']);
  });

  it('says NOT_FOUND for a file that is not there', async () => {
    await expect(new ArtifactFiles(root).get('r1', 'none.png')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it.each(['../x', 'a/../../x', '/etc/passwd', 'a\\b', '', 'a//b', '.hidden', 'a/\0', 'a/.'])(
    'refuses the path %j',
    async (path) => {
      const store = new ArtifactFiles(join(root, 'runs'));
      await expect(store.put('r1', path, bytes)).rejects.toMatchObject({ reason: 'ARGUMENT_INVALID' });
      await expect(store.get('r1', path)).rejects.toMatchObject({ reason: 'ARGUMENT_INVALID' });
      expect(() => store.locate(path)).toThrow(expect.objectContaining({ reason: 'ARGUMENT_INVALID' }));
      expect(readdirSync(root)).toEqual([]);
    },
  );

  it('on a full disk fails with STORAGE_FAILED, leaves no partial file and keeps the old one', async () => {
    await new ArtifactFiles(root).put('r1', 'a.bin', bytes);
    const store = new ArtifactFiles(root, fullDisk(1));
    await expect(store.put('r1', 'a.bin', Uint8Array.of(7, 7, 7))).rejects.toMatchObject({
      reason: 'STORAGE_FAILED',
      message: expect.stringMatching(/a\.bin.*ENOSPC.*free some disk space/),
    });
    expect(readdirSync(join(root, 'r1'))).toEqual(['a.bin']);
    expect(new Uint8Array(await store.get('r1', 'a.bin'))).toEqual(bytes);
  });

  it('fails with STORAGE_FAILED where the folder cannot be made', async () => {
    await writeFile(join(root, 'file'), 'x');
    await expect(new ArtifactFiles(join(root, 'file')).put('r1', 'a.bin', bytes)).rejects.toMatchObject({
      reason: 'STORAGE_FAILED',
    });
  });
});
