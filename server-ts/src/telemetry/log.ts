import pino, { type Logger } from 'pino';

/** Where log lines go; `process.stderr` and file streams fit. */
export interface LogDestination {
  write(line: string): unknown;
}

/** Structured log: one JSON object a line. */
export type Log = Logger;

/** Levels in rising order. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

const OMITTED = new Set(['level', 'time', 'msg', 'pid', 'hostname']);

function printable(value: unknown): string {
  if (typeof value === 'number' && !Number.isInteger(value)) return value.toPrecision(4);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/**
 * One JSON log line as text for a terminal: `12:03:04 info  iteration done  runId=... iteration=3`.
 * A line that is not JSON comes back unchanged.
 */
export function prettyLogLine(line: string): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const time = new Date(Number(entry.time)).toISOString().slice(11, 19);
  const level = pino.levels.labels[Number(entry.level)] ?? 'info';
  const fields = Object.entries(entry)
    .filter(([key]) => !OMITTED.has(key))
    .map(([key, value]) => `${key}=${printable(value)}`);
  return `${time} ${level.padEnd(5)} ${entry.msg ?? ''}${fields.length > 0 ? `  ${fields.join(' ')}` : ''}\n`;
}

/**
 * Creates the log.
 *
 * @param options.pretty text lines for people instead of JSON
 */
export function createLog(
  destination: LogDestination,
  options: { readonly level?: LogLevel; readonly pretty?: boolean } = {},
): Log {
  const sink = options.pretty
    ? { write: (line: string): void => void destination.write(prettyLogLine(line)) }
    : { write: (line: string): void => void destination.write(line) };
  return pino({ level: options.level ?? 'info', base: null }, sink);
}
