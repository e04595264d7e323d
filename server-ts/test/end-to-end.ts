import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { applyAssignments } from '../src/cli/recipe-source.js';

/** What end-to-end tests share: shrunk recipes, `bin/star` as a child process, traces that processes leave. */

/** Repository root. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Enough for a start of all processes on a busy machine. */
export const START_MS = 180_000;

const POLL_MS = 100;

/** Makes any recipe of the small world a matter of seconds; one thread, so that sums have one order. */
const SHRINK = [
  'iterations=4',
  'prompts.groupsPerIteration=2',
  'prompts.groupSize=4',
  'worker.microBatchSize=4',
  'worker.threads=1',
  'evaluation.promptCount=8',
  'checkpoint.every=2',
  // An adapter is exported as one small file.
  'model.lora={ rank: 4, alpha: 8 }',
];

/** Text of a shipped recipe, shrunk, with further changes in the form of `--set`. */
export function shrunkRecipe(name: string, changes: readonly string[] = []): string {
  return applyAssignments(readFileSync(join(ROOT, 'recipes', name), 'utf8'), [...SHRINK, ...changes]);
}

/** A new folder under the system's temporary one. */
export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'star-end-to-end-'));
}

/** Short form of bytes, so that a difference can be shown. */
export function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Hash of the numbers of an exported adapter: in its header (safetensors), the order of the metadata is by chance. */
export function weightsHash(exportFolder: string): string {
  const file = readFileSync(join(exportFolder, 'pytorch_lora_weights.safetensors'));
  return hash(file.subarray(8 + Number(file.readBigUInt64LE(0))));
}

/** Asks until the answer is yes. @throws Error after `timeoutMs` */
export async function until(holds: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${holds}`);
    await delay(POLL_MS);
  }
}

/** Entries of the control plane's log with this message. */
export function logEntries(dataDir: string, message: string): Record<string, unknown>[] {
  const path = join(dataDir, 'control-plane.log');
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === message);
}

const MARK = 'STAR_TEST_MARK';

/** `bin/star` in a process group of its own, as a shell would start it. Everything it starts inherits a mark. */
export class StarCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout = '';
  stderr = '';
  readonly #mark = randomUUID();

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(join(ROOT, 'bin/star'), args, {
      detached: true,
      env: { ...process.env, ...env, [MARK]: this.#mark },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** Resolves when standard error has a match. @throws Error with all that it said, when the command ends before that */
  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.stderr)) {
      const more = once(this.child.stderr as object as never, 'data').then(() => true);
      if (await Promise.race([more, this.ended.then(() => pattern.test(this.stderr))])) continue;
      throw new Error(`it ended without ${pattern}; it said:\n${this.stderr}`);
    }
  }

  /** Ctrl-C in a terminal: the signal goes to the whole process group. */
  interrupt(): void {
    process.kill(-(this.child.pid ?? 0), 'SIGINT');
  }

  /** Processes that it started and that still live, itself included. Found on Linux only; elsewhere none. */
  processes(): number[] {
    if (!existsSync('/proc/self/environ')) return [];
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && environmentOf(pid).includes(`${MARK}=${this.#mark}`));
  }

  /** Waits until nothing that it started lives any more. */
  async leavesNothingBehind(): Promise<void> {
    await until(async () => this.processes().length === 0, START_MS);
  }

  /** For the end of a test, whatever happened in it. */
  killAll(): void {
    for (const pid of this.processes()) process.kill(pid, 'SIGKILL');
  }
}

/** Empty for a process that is gone or belongs to somebody else. */
function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
