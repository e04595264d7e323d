import { createInterface } from 'node:readline';

/** Figures of one round by name. */
export type Figures = Readonly<Record<string, number>>;

/**
 * Lets the program that started this one decide when to measure, so that benchmarks can take turns: prints `{}` when
 * everything is warm, then for every line on standard input one round as one line of JSON. Returns when the input ends.
 */
export async function serveRounds(measure: () => Promise<Figures>): Promise<void> {
  print({});
  for await (const _ of createInterface(process.stdin)) print(await measure());
}

function print(figures: Figures): void {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
