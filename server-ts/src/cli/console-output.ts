/** Where a command writes; a test passes its own. */
export interface ConsoleOutput {
  /** Results: one line, or JSON. */
  print(text: string): void;
  /** Progress, warnings and errors. */
  note(text: string): void;
  /** One line that the next note or status replaces; does nothing useful where `isTty` is false. */
  status(text: string): void;
  /** Standard error is a terminal. */
  readonly isTty: boolean;
  /** Characters of a terminal line. */
  readonly columns: number;
}

const CLEAR_LINE = '\r\u001b[2K';

/** Output on a pair of streams. */
export function consoleOutput(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): ConsoleOutput {
  let statusShown = false;
  const clear = (): void => {
    if (statusShown) stderr.write(CLEAR_LINE);
    statusShown = false;
  };
  return {
    isTty: stderr.isTTY === true,
    columns: stderr.columns ?? 100,
    print: (text) => {
      clear();
      stdout.write(`${text}\n`);
    },
    note: (text) => {
      clear();
      stderr.write(`${text}\n`);
    },
    status: (text) => {
      stderr.write(CLEAR_LINE + text.slice(0, Math.max(1, (stderr.columns ?? 100) - 1)));
      statusShown = true;
    },
  };
}
