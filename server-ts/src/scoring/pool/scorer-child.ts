import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const STDERR_TAIL_CHARS = 2000;

/** Exit code of a scorer process that the control plane refused: starting it again would not help. */
export const REFUSED_EXIT_CODE = 3;

/** How a scorer process ended. */
export interface ScorerExit {
  readonly pid: number;
  /** Null after a signal, or when it could not be started. */
  readonly code: number | null;
  /** For people: exit code or signal, and the end of what it wrote to standard error. */
  readonly description: string;
}

/** One operating system process that runs `scorer-process.ts`. It dies with this process, because its standard input closes. */
export class ScorerChild {
  readonly pid: number;
  /** Resolves once, when the process has ended or could not be started. */
  readonly exited: Promise<ScorerExit>;
  readonly #child: ChildProcess;
  #stderrTail = '';

  /** @param options command line options of `scorer-process.ts`, without the dashes */
  constructor(options: Readonly<Record<string, string>>) {
    const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    this.#child = spawn(process.execPath, [...nodeArguments(), ...flags], { stdio: ['pipe', 'ignore', 'pipe'] });
    this.pid = this.#child.pid ?? -1;
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_CHARS);
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve({ pid: this.pid, code: null, description: error.message }));
      this.#child.once('close', (code, signal) =>
        resolve({ pid: this.pid, code, description: this.#describe(code, signal) }),
      );
    });
  }

  /** Ends the process at once, whatever it is doing; works on a stopped process too. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #describe(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    const said = this.#stderrTail.trim();
    return said === '' ? how : `${how}; it said: ${said}`;
  }
}

/** A scorer process owns one core: helper threads of the garbage collector would take another. */
const ONE_CORE = '--single-threaded-gc';

/** Entry point, with the TypeScript loader while running from source; both are found from any working directory. */
function nodeArguments(): string[] {
  const fromSource = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(fromSource ? './scorer-process.ts' : './scorer-process.js', import.meta.url));
  if (!fromSource) return [ONE_CORE, entry];
  const loader = createRequire(import.meta.url).resolve('tsx');
  return [ONE_CORE, '--import', pathToFileURL(loader).href, entry];
}
