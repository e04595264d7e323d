import { summarizeGeneval, summaryText } from '../core/geneval-report.js';
import { evaluateGeneval } from '../offline-scoring.js';
import type { CommandContext } from './command-context.js';
import { EXIT } from './exit-code.js';
import { outputFile } from './output-file.js';

/** Options of `star eval geneval`. */
export interface EvalOptions {
  readonly bundle?: string;
  readonly results?: string;
  readonly jpeg?: boolean;
  readonly json?: boolean;
}

/** `star eval geneval FOLDER`. @returns exit code: 1 when a picture has no score */
export async function evalGenevalCommand(
  context: CommandContext,
  folder: string,
  options: EvalOptions,
): Promise<number> {
  const writeResults = options.results === undefined ? null : outputFile(options.results);
  const abort = new AbortController();
  const end = context.onInterrupt(() => abort.abort());
  try {
    const { results, failures } = await evaluateGeneval({
      dataDir: context.server.dataDir,
      folder,
      bundle: options.bundle ?? null,
      jpeg: options.jpeg === true,
      onProgress: (done, total) => {
        if (context.output.isTty) context.output.status(`${done} of ${total} pictures`);
      },
      signal: abort.signal,
    });
    writeResults?.(results.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const summary = summarizeGeneval(results);
    context.output.print(
      options.json === true ? JSON.stringify({ ...summary, failures }, null, 2) : summaryText(summary),
    );
    for (const { filename, reason, message } of failures) {
      context.output.note(`not counted: ${filename}: ${reason}: ${message}`);
    }
    return failures.length === 0 ? EXIT.ok : EXIT.failure;
  } finally {
    end();
  }
}
