import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { StarError } from '../core/errors.js';

/** How the worker of this machine is started. */
export interface WorkerCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Its output is appended here. */
  readonly logPath: string;
}

/** Starts in a row without a long life that end the attempts. */
const MAX_SHORT_LIVES = 3;
/** A worker that lived this long died of something new: the count starts again. */
const LONG_LIFE_MS = 120_000;
/** Time it gets to write its checkpoint after SIGTERM. */
const STOP_GRACE_MS = 10_000;

/** A worker process that is started again when it dies, a bounded number of times. */
export class WorkerProcess {
  private child: ChildProcess | null = null;
  private stopping = false;
  private shortLives = 0;

  /**
   * @param onEvent told of every start and exit, for the log
   * @param onGiveUp told when it died `MAX_SHORT_LIVES` times in a row; nothing is started any more
   */
  constructor(
    private readonly command: WorkerCommand,
    private readonly onEvent: (name: string, fields: Record<string, string | number | null>) => void,
    private readonly onGiveUp: (error: StarError) => void,
  ) {}

  /** Process id; null while none is alive. */
  get pid(): number | null {
    return this.child?.pid ?? null;
  }

  /** Starts the worker unless it runs; after giving up, a new request is worth new attempts. */
  ensureStarted(): void {
    if (this.child !== null || this.stopping) return;
    this.shortLives = 0;
    this.start();
  }

  start(): void {
    const startedAt = performance.now();
    const log = openSync(this.command.logPath, 'a');
    const { program, args, cwd, env } = this.command;
    // A process group of its own: Ctrl-C in the terminal is for the control plane, which then stops the worker in order.
    const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    this.child = child;
    this.onEvent('process_started', { pid: child.pid ?? null });
    let ended = false;
    const end = (how: string): void => {
      if (ended) return;
      ended = true;
      this.onExit(how, performance.now() - startedAt);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
  }

  /** Ends the process: SIGTERM, then SIGKILL after a grace time. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.stopping = true;
    const child = this.child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    await exit;
    clearTimeout(force);
  }

  private onExit(how: string, lifeMs: number): void {
    this.child = null;
    this.onEvent('process_exited', { how, lifeSeconds: Math.round(lifeMs / 1_000) });
    if (this.stopping) return;
    this.shortLives = lifeMs >= LONG_LIFE_MS ? 1 : this.shortLives + 1;
    if (this.shortLives < MAX_SHORT_LIVES) {
      this.start();
      return;
    }
    const message = `the worker died ${this.shortLives} times in a row (last: ${how}); its output is in ${this.command.logPath}`;
    this.onGiveUp(new StarError('WORKER_LOST', message));
  }
}
