import { resolve } from 'node:path';
import { scorerPublicKey, serveScorers } from '../offline-scoring.js';
import type { CommandContext } from './command-context.js';
import { EXIT } from './exit-code.js';

/** Options of `star scorer-host`. */
export interface ScorerHostCommandOptions {
  readonly connect: string;
  readonly serverKey: string;
  readonly bundle: string;
  readonly processes: string;
  readonly keys: string;
}

/** `star scorer-host`: helps a control plane until Ctrl-C. @returns exit code */
export async function scorerHostCommand(context: CommandContext, options: ScorerHostCommandOptions): Promise<number> {
  const abort = new AbortController();
  const end = context.onInterrupt(() => abort.abort());
  const { connect, serverKey, bundle, processes, keys } = options;
  const note = (name: string, fields: object): void => context.output.note(`${name} ${JSON.stringify(fields)}`);
  try {
    const host = { endpoint: connect, serverKey, keyFile: resolve(keys), bundleFolder: resolve(bundle) };
    const { publicKey, ended } = await serveScorers(
      { ...host, processCount: Math.max(1, Number(processes)), onEvent: note },
      abort.signal,
    );
    context.output.print(`key of this host  ${publicKey}\nhelping           ${connect}\nCtrl-C stops.`);
    await ended;
    return EXIT.ok;
  } finally {
    end();
  }
}

/** `star scorer-keys FILE`. @returns exit code */
export async function scorerKeysCommand(context: CommandContext, file: string): Promise<number> {
  context.output.print(await scorerPublicKey(resolve(file)));
  return EXIT.ok;
}
