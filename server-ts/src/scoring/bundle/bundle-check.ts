import { readFile } from 'node:fs/promises';
import { arch, cpus, platform } from 'node:os';
import sharp from 'sharp';
import { StarError } from '../../core/errors.js';
import type { PromptRecord, ScoreLineage } from '../../core/types.js';
import { decodePng } from '../image/rgb-image.js';
import { loadScorer } from '../load-scorer.js';
import { ONNX_RUNTIME, openSession } from '../onnx-session.js';
import { requireFinite, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import { lineageOf } from './bundle-lineage.js';
import { type GoldenCase, readGoldenCases } from './golden-cases.js';
import { scoringFilesOf } from './manifest.js';
import { readOpset } from './onnx-opset.js';
import { loadScorerBundle, type ScorerBundle } from './scorer-bundle.js';

/** What a check of a bundle found; stored with it. */
export interface BundleCertificate {
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly checkedAt: string;
  readonly lineage: ScoreLineage;
  readonly machine: string;
  readonly graphs: readonly GraphFacts[];
  readonly golden: { readonly cases: number; readonly failures: readonly string[] };
  /** What is worth a look and no failure: scores outside the manifest's `valueRange`. */
  readonly warnings: readonly string[];
  /** Pictures per second of one process on one thread, decoding apart. */
  readonly picturesPerSecond: number;
  readonly passed: boolean;
}

/** Shapes and types of one graph. */
export interface GraphFacts {
  readonly path: string;
  readonly bytes: number;
  /** Null where the graph names none. */
  readonly opset: number | null;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Timed for at least this long, after one batch of warm-up. */
const TIMING_MS = 500;
const TIMING_BATCH = 4;
const TEST_SIDE = 64;

/**
 * Loads a bundle as a run would, and tries it: hashes, graphs, finite outputs, golden cases, speed.
 *
 * @param folder absolute path
 * @param now time of day, ISO 8601
 * @returns the certificate; `passed` is false when a golden case does not hold
 * @throws StarError SCORER_NOT_LOADABLE when it cannot be loaded, TENSOR_INVALID or SCORE_NOT_FINITE for wrong outputs
 */
export async function checkBundle(folder: string, now: string): Promise<BundleCertificate> {
  const bundle = await loadScorerBundle(folder);
  const { name, version, kind } = bundle.manifest;
  const graphs = await graphFacts(bundle);
  const cases = await readGoldenCases(bundle.manifest, bundle.locate);
  const scorer = await loadScorer(bundle);
  try {
    const outcomes = await scoreCases(scorer, cases);
    const failures = outcomes.flatMap(([{ name, expected }, outcome]) =>
      differences(outcome, expected).map((difference) => `${name}: ${difference}`),
    );
    const picturesPerSecond = await timeScorer(scorer, cases[0]?.prompt ?? TEST_PROMPT);
    return {
      name,
      version,
      kind,
      checkedAt: now,
      lineage: { ...lineageOf(bundle), runtime: scorer.runtime ?? ONNX_RUNTIME },
      machine: `${platform()} ${arch()}, ${cpus()[0]?.model ?? 'unknown processor'}`,
      graphs,
      golden: { cases: cases.length, failures },
      warnings: outcomes.flatMap(([{ name }, outcome]) => outOfRange(name, outcome, bundle.manifest.valueRange)),
      picturesPerSecond,
      passed: failures.length === 0,
    };
  } finally {
    await scorer.close();
  }
}

/** Serves every kind of scorer. */
const TEST_PROMPT: PromptRecord = {
  prompt: 'a sign that says "STAR"',
  tag: 'check',
  include: [{ class: 'person', count: 1 }],
  exclude: [],
  targetText: 'STAR',
};

async function graphFacts(bundle: ScorerBundle): Promise<GraphFacts[]> {
  const facts: GraphFacts[] = [];
  for (const entry of scoringFilesOf(bundle.manifest).filter(({ path }) => path.endsWith('.onnx'))) {
    const file = bundle.locate(entry);
    const session = await openSession(file);
    const model = await readFile(file);
    facts.push({
      path: entry.path,
      bytes: model.length,
      opset: readOpset(model),
      inputs: session.inputMetadata.map(describeTensor),
      outputs: session.outputMetadata.map(describeTensor),
    });
    await session.release();
  }
  return facts;
}

function describeTensor(value: { readonly name: string; readonly isTensor: boolean }): string {
  const { type, shape } = value as { type?: string; shape?: readonly (string | number)[] };
  return value.isTensor ? `${value.name}: ${type} [${(shape ?? []).join(', ')}]` : `${value.name}: no tensor`;
}

type ScoredCase = readonly [GoldenCase, ScorerOutcome | undefined];

async function scoreCases(scorer: Scorer, cases: readonly GoldenCase[]): Promise<ScoredCase[]> {
  const scored: ScoredCase[] = [];
  for (const each of cases) {
    const { prompt, image } = each;
    const [outcome] = await scorer.score([{ prompt, image: await decodePng(image), png: image }]);
    scored.push([each, outcome]);
  }
  return scored;
}

function outOfRange(
  name: string,
  outcome: ScorerOutcome | undefined,
  range: readonly [smallest: number, largest: number] | null,
): string[] {
  const score = outcome?.kind === 'value' ? outcome.values.score : undefined;
  if (score === undefined || range === null || (score >= range[0] && score <= range[1])) return [];
  return [`${name}: score ${score} is outside the value range ${range[0]} to ${range[1]} of the manifest`];
}

function differences(outcome: ScorerOutcome | undefined, expected: GoldenCase['expected']): string[] {
  if (outcome?.kind !== 'value') return [`expected values, received ${JSON.stringify(outcome ?? null)}`];
  return Object.entries(expected).flatMap(([value, { value: wanted, tolerance }]) => {
    const received = outcome.values[value];
    if (received !== undefined && Math.abs(received - wanted) <= tolerance) return [];
    return [`expected ${value} = ${wanted} +- ${tolerance}, received ${received}`];
  });
}

/** Scores grey noise, and refuses outputs that are not finite. */
async function timeScorer(scorer: Scorer, prompt: PromptRecord): Promise<number> {
  const batch = await Promise.all(Array.from({ length: TIMING_BATCH }, (_, index) => testInput(prompt, index)));
  for (const outcome of (await scorer.score(batch)).map(requireFinite)) {
    if (outcome.kind === 'failed') throw new StarError(outcome.failure.reason, outcome.failure.message);
  }
  const start = performance.now();
  let pictures = 0;
  while (performance.now() - start < TIMING_MS) {
    await scorer.score(batch);
    pictures += batch.length;
  }
  return (pictures / (performance.now() - start)) * 1000;
}

/** Stripes, the same at every check. */
async function testInput(prompt: PromptRecord, seed: number): Promise<ScorerInput> {
  const pixels = Uint8Array.from({ length: TEST_SIDE * TEST_SIDE * 3 }, (_, at) => (at * (seed + 3)) % 251);
  const raw = { width: TEST_SIDE, height: TEST_SIDE, channels: 3 } as const;
  const png = await sharp(pixels, { raw }).png().toBuffer();
  return { prompt, png, image: await decodePng(png) };
}
