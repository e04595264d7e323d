import { StarError } from '../src/core/errors.js';
import type { ArtifactStore } from '../src/pipeline/ports.js';

/** Artifacts in memory. */
export class MemoryArtifacts implements ArtifactStore {
  readonly files = new Map<string, Uint8Array>();

  async put(runId: string, path: string, data: Uint8Array): Promise<void> {
    this.files.set(this.locate(runId, path), data);
  }

  async get(runId: string, path: string): Promise<Uint8Array> {
    const data = this.files.get(this.locate(runId, path));
    if (data === undefined) throw new StarError('NOT_FOUND', `no ${path}`);
    return data;
  }

  locate(runId: string, path = ''): string {
    return `${runId}/${path}`;
  }
}
