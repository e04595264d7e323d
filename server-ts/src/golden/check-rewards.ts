import { relationsOf } from '../core/box-relations.js';
import { judgeGeneval } from '../core/geneval-rules.js';
import { ocrReward } from '../core/ocr-reward.js';
import type { Detection, PromptRecord } from '../core/types.js';
import { clipTokenizer } from '../scoring/image-text/clip-tokenizer.js';

interface GenevalCase {
  readonly metadata: Pick<PromptRecord, 'tag'> & Partial<Pick<PromptRecord, 'include' | 'exclude'>>;
  readonly dets: Readonly<Record<string, readonly { box: Detection['box']; score: number; color: string | null }[]>>;
  readonly correct: boolean;
  readonly strict: boolean;
  readonly score: number;
  readonly reason: string;
  readonly strict_reason?: string;
}

/** Thresholds of the official evaluation, without suppression. */
const OFFICIAL = { threshold: 0.3, countingThreshold: 0.9, maxObjects: 16, maxOverlap: 1 };
const TOLERANCE = 1e-12;

/** Official verdict and reason, strict verdict and training score. */
export function checkGeneval(text: string): (string | null)[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, index) => compareGeneval(JSON.parse(line) as GenevalCase, index));
}

function compareGeneval(one: GenevalCase, index: number): string | null {
  const detections = Object.entries(one.dets).flatMap(([className, list]) =>
    list.map(({ box, score, color }) => ({ className, score, box, color: color ?? null })),
  );
  const { tag, include = [], exclude = [] } = one.metadata;
  const result = judgeGeneval(detections, { tag, include, exclude }, OFFICIAL);
  const same =
    result.correct.passed === one.correct &&
    result.strict.passed === one.strict &&
    Math.abs(result.score - one.score) <= TOLERANCE &&
    ordered(result.correct.reason) === ordered(one.reason) &&
    (one.strict_reason === undefined || ordered(result.strict.reason) === ordered(one.strict_reason));
  return same ? null : `case ${index}: ${JSON.stringify({ result, expected: one })}`;
}

/** Two relations of one pair come from a Python set, whose order is not fixed. */
function ordered(reason: string): string {
  return reason.replace(
    /found (\w+(?: of)?) and (\w+(?: of)?) target/g,
    (_, a: string, b: string) => `found ${[a, b].sort().join(' and ')} target`,
  );
}

/** Relations of box pairs, sorted. */
export function checkRelations(text: string): (string | null)[] {
  const cases = JSON.parse(text) as { a: Detection['box']; b: Detection['box']; r: string[] }[];
  return cases.map(({ a, b, r }) => {
    const received = relationsOf(a, b).sort().join(', ');
    return received === r.join(', ') ? null : `${JSON.stringify({ a, b })}: [${received}], expected [${r.join(', ')}]`;
  });
}

/** OCR rewards. */
export function checkOcr(text: string): (string | null)[] {
  const cases = JSON.parse(text) as { rec: string; tgt: string; reward: number }[];
  return cases.map(({ rec, tgt, reward }) => {
    const received = ocrReward(rec, tgt);
    return Math.abs(received - reward) <= TOLERANCE
      ? null
      : `${JSON.stringify([rec, tgt])}: ${received}, expected ${reward}`;
  });
}

/** Ids of CLIP's tokenizer before truncation. */
export function checkClipTokens(text: string, vocabulary: string): (string | null)[] {
  const tokenizer = clipTokenizer(vocabulary);
  return (JSON.parse(text) as { t: string; ids: number[] }[]).map((one) => {
    const ids = tokenizer.encode(one.t);
    return ids.join() === one.ids.join() ? null : `${JSON.stringify(one.t)}: ${ids.join()}, expected ${one.ids.join()}`;
  });
}
