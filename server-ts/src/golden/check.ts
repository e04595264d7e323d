import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  checkAdvantages,
  checkAllocationMaps,
  checkSchedules,
  checkSeeds,
  checkStandardizedAdvantages,
} from './check-method.js';
import { checkClipTokens, checkGeneval, checkOcr, checkRelations } from './check-rewards.js';
import { readGolden } from './golden-files.js';

/** Outcome of one golden file. */
export interface GoldenReport {
  readonly name: string;
  readonly cases: number;
  readonly mismatches: number;
  /** First differences, for the reader. */
  readonly examples: readonly string[];
  /** Why nothing was compared; null: it was. */
  readonly skipped: string | null;
}

/** One comparison: null when equal, else what differs. */
export type Comparison = string | null;

type Check = (text: string) => Comparison[];

const SHOWN = 3;

const CHECKS: readonly (readonly [string, string, Check])[] = [
  ['geneval_cases', 'geneval_cases.jsonl', checkGeneval],
  ['geneval_relations', 'geneval_relations.json', checkRelations],
  ['ocr_cases', 'ocr_cases.json', checkOcr],
  ['advantages', 'advantages.json', checkAdvantages],
  ['standardized_advantages', 'standardized_advantages.json', checkStandardizedAdvantages],
  ['allocation_map', 'allocation_map.json', checkAllocationMaps],
  ['schedules', 'schedules.json', checkSchedules],
  ['seeds', 'seeds.json', checkSeeds],
];

/**
 * Recomputes the golden files of a folder that the control plane answers for, through the product's own functions.
 *
 * @param folder files may be plain or `.gz`; absent files are left out
 * @param vocabulary CLIP's merges, unpacked; null: the token cases are skipped
 */
export function checkGoldenFolder(folder: string, vocabulary: string | null): GoldenReport[] {
  const reports = CHECKS.flatMap(([name, file, check]) => {
    const text = readGolden(folder, file);
    return text === null ? [] : [report(name, check(text))];
  });
  const tokens = readGolden(folder, 'clip_tokens.json');
  if (tokens === null) return reports;
  if (vocabulary !== null) return [...reports, report('clip_tokens', checkClipTokens(tokens, vocabulary))];
  return [...reports, { ...report('clip_tokens', []), skipped: 'no vocabulary' }];
}

const VOCABULARY = 'data/clip/bpe_simple_vocab_16e6.txt.gz';
/** The shared folder beside a checkout: a folder of golden cases may lie anywhere. */
const SHARED = fileURLToPath(new URL('../../../../shared', import.meta.url));

/** CLIP's merges at an explicit path, next to the golden folder, or in the shared folder; null where there are none. */
export function findVocabulary(folder: string, path?: string): string | null {
  const places = path === undefined ? [join(folder, '..', VOCABULARY), join(SHARED, VOCABULARY)] : [path];
  const place = places.find((candidate) => existsSync(candidate));
  if (place === undefined) return null;
  const data = readFileSync(place);
  return (place.endsWith('.gz') ? gunzipSync(data) : data).toString('utf8');
}

function report(name: string, comparisons: readonly Comparison[]): GoldenReport {
  const wrong = comparisons.filter((comparison) => comparison !== null);
  const examples = wrong.slice(0, SHOWN);
  return { name, cases: comparisons.length, mismatches: wrong.length, examples, skipped: null };
}

/** Command: `node --import tsx server-ts/src/golden/check.ts FOLDER [VOCABULARY]`; exit status 1 on a mismatch. */
function main(args: readonly string[]): number {
  const [folder, vocabulary] = args;
  if (folder === undefined) {
    console.error('usage: check.ts FOLDER [VOCABULARY]');
    return 2;
  }
  const reports = checkGoldenFolder(folder, findVocabulary(folder, vocabulary));
  for (const { name, cases, mismatches, examples, skipped } of reports) {
    console.log(
      skipped === null ? `${name}: ${cases} cases, ${mismatches} mismatches` : `${name}: skipped (${skipped})`,
    );
    for (const example of examples) console.log(`  ${example}`);
  }
  return reports.some(({ mismatches }) => mismatches > 0) ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
