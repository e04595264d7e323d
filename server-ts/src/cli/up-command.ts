import { startControlPlane } from '../main.js';
import { type CommandContext, dataDirOf } from './command-context.js';
import { EXIT } from './exit-code.js';

/** Options of `star up`. */
export interface UpOptions {
  readonly dataDir?: string;
  readonly httpPort?: number;
  readonly grpcPort?: number;
  /** As STAR_SCORER_LISTEN. */
  readonly scorerListen?: string;
  /** False with `--no-worker`. */
  readonly worker: boolean;
  readonly json?: boolean;
}

/** `star up`: serves until Ctrl-C. @returns exit code */
export async function upCommand(context: CommandContext, options: UpOptions): Promise<number> {
  const interrupted = Promise.withResolvers<void>();
  let count = 0;
  const end = context.onInterrupt(() => {
    count += 1;
    if (count > 1) context.exitNow(EXIT.interrupted);
    interrupted.resolve();
  });
  const plane = await startControlPlane({
    ...context.server,
    dataDir: dataDirOf(context, options),
    httpPort: options.httpPort ?? context.server.httpPort,
    grpcPort: options.grpcPort ?? context.server.grpcPort,
    scorerListen: options.scorerListen ?? context.server.scorerListen,
    leftovers: 'serve',
    localWorker: options.worker,
    python: context.settings.python,
    log: 'stderr',
  });
  const { url, grpcAddress, dataDir, scorerHub } = plane;
  if (options.json === true) context.output.print(JSON.stringify({ url, grpcAddress, dataDir, scorerHub }));
  else {
    context.output.print(`HTTP API      ${url}\nworkers dial  ${grpcAddress}\ndata          ${dataDir}`);
    if (scorerHub !== null)
      context.output.print(`scorers dial  ${scorerHub.address} --server-key '${scorerHub.publicKey}'`);
    context.output.print('Ctrl-C stops.');
  }
  try {
    await interrupted.promise;
  } finally {
    context.output.note('stopping; a run at hand goes on from its last checkpoint at the next `star up`');
    await plane.stop();
    end();
  }
  return EXIT.ok;
}
