import { rmSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../src/pipeline/clock.js';
import { RunController } from '../src/pipeline/run-controller.js';
import { ArtifactFiles, type FileOperations } from '../src/storage/artifact-files.js';
import { openDatabase } from '../src/storage/database.js';
import { SqliteRunStore } from '../src/storage/sqlite-run-store.js';
import { newFolder } from './end-to-end.js';
import { ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from './scripted-trainer.js';
import { tinyRecipe } from './tiny-recipe.js';

/** A run on real files and SQLite whose disk fills up; worker and scorer are scripted. */

let folder: string;
beforeAll(() => {
  folder = newFolder();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Every write fails half-way from the n-th on, until `free` is called. */
class FillingDisk implements FileOperations {
  readonly mkdir = mkdir;
  readonly rename = rename;
  readonly rm = rm;

  constructor(private writesLeft: number) {}

  free(): void {
    this.writesLeft = Infinity;
  }

  async open(path: string, flags: string): ReturnType<FileOperations['open']> {
    const file = await open(path, flags);
    this.writesLeft -= 1;
    if (this.writesLeft >= 0) return file;
    return {
      writeFile: async (data) => {
        await file.writeFile((data as Uint8Array).subarray(0, 1));
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      },
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }
}

function world(name: string, disk: FillingDisk) {
  const database = openDatabase(join(folder, `${name}.db`));
  const store = new SqliteRunStore(database, () => new Date().toISOString());
  const controller = new RunController({
    store,
    artifacts: new ArtifactFiles(join(folder, name), disk),
    trainer: new ScriptedTrainer(),
    createScorer: async () => new ScriptedScorer(),
    loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock: systemClock,
    onFinished: async () => undefined,
  });
  store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: '' });
  controller.submit('r1');
  return { store, controller, close: () => database.close() };
}

it.each([1, 4, 10])(
  'a disk that is full after %i files fails the run clearly; resumed, it loses nothing',
  async (writes) => {
    const disk = new FillingDisk(writes);
    const full = world(`full-${writes}`, disk);
    await full.controller.idle();
    const failed = full.store.getRun('r1');
    expect(failed.state).toBe('FAILED');
    expect(failed.failure).toMatch(/^STORAGE_FAILED: .*ENOSPC.*free some disk space/);

    disk.free();
    full.controller.resume('r1');
    const roomy = world(`roomy-${writes}`, new FillingDisk(Infinity));
    await Promise.all([full.controller.idle(), roomy.controller.idle()]);
    expect(full.store.getRun('r1').state).toBe('SUCCEEDED');
    expect(roomy.store.metrics('r1')).not.toEqual([]);
    expect(full.store.metrics('r1')).toEqual(roomy.store.metrics('r1'));
    expect(full.store.evaluations('r1')).toEqual(roomy.store.evaluations('r1'));
    full.close();
    roomy.close();
  },
);
