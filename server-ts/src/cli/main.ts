import { CommanderError } from 'commander';
import { readCommandSettings, readServerSettings } from '../config/server-settings.js';
import { StarError } from '../core/errors.js';
import { assertNodeVersion } from '../main.js';
import type { CommandContext } from './command-context.js';
import { consoleOutput } from './console-output.js';
import { EXIT } from './exit-code.js';
import { createProgram } from './program.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

const output = consoleOutput(process.stdout, process.stderr);

function onInterrupt(listener: () => void): () => void {
  for (const signal of SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) process.off(signal, listener);
  };
}

/** Exit code of an error, after telling the user. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const known = StarError.from(error);
  output.note(`error: ${known.message} [${known.reason}]`);
  if (known.reason === 'INTERNAL' && error instanceof Error) output.note(error.stack ?? '');
  return known.reason === 'CANCELLED' ? EXIT.interrupted : EXIT.failure;
}

async function main(): Promise<number> {
  let code: number = EXIT.ok;
  try {
    assertNodeVersion(process.versions.node);
    const context: CommandContext = {
      output,
      server: readServerSettings(process.env),
      settings: readCommandSettings(process.env),
      onInterrupt,
      exitNow: (now) => process.exit(now),
    };
    const program = createProgram(context, (result) => {
      code = result;
    });
    await program.parseAsync(process.argv);
    return code;
  } catch (error) {
    return explain(error);
  }
}

process.exit(await main());
