import { type GenevalThresholds, judgeGeneval, selectObjects } from '../../core/geneval-rules.js';
import { encodeMask } from '../../core/run-length-mask.js';
import type { DetectionEvidence, SeenObject } from '../../core/types.js';
import { failedOutcome, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import type { ColorClassifier, ObjectColor, ObjectView } from './color-classifier.js';
import type { ObjectDetector, RawDetection } from './object-detector.js';

/** A picture with the objects that count, in the detector's order, on which ties depend. */
interface Reading {
  readonly input: ScorerInput;
  readonly objects: readonly RawDetection[];
}

/**
 * GenEval over any detector: detect, name the colours of the objects that count, apply the rules.
 *
 * Reports `score` (Flow-GRPO's training score, at most 1), `clamped` (the same with every term in 0..1), `strict` and
 * `correct` (0 or 1).
 */
export function createGenevalScorer(
  detector: ObjectDetector,
  colors: ColorClassifier,
  thresholds: GenevalThresholds,
): Scorer {
  return {
    async score(inputs) {
      const detected = await detector.detect(inputs.map(({ image }) => image));
      const readings = inputs.map((input, index) => read(input, detected[index] ?? [], thresholds));
      const named = await nameColors(
        readings.filter((reading) => 'objects' in reading),
        colors,
      );
      return readings.map((reading) =>
        'objects' in reading ? judge(reading, named, thresholds, colors.backend) : reading,
      );
    },
    async close() {
      await Promise.all([detector.close(), colors.close()]);
    },
  };
}

function read(
  input: ScorerInput,
  raw: readonly RawDetection[],
  thresholds: GenevalThresholds,
): Reading | ScorerOutcome {
  const { prompt } = input;
  if (prompt.include.length + prompt.exclude.length === 0) {
    return failedOutcome('PROMPT_INVALID', `prompt "${prompt.prompt}" has no GenEval clauses (include or exclude)`);
  }
  const wrong = raw.find((found) => ![found.score, ...found.box].every(Number.isFinite));
  if (wrong !== undefined) {
    const numbers = `score ${wrong.score}, box [${wrong.box.join(', ')}]`;
    return failedOutcome('SCORE_NOT_FINITE', `the detector gave a ${wrong.className} with ${numbers}`);
  }
  const kept = new Set([...selectObjects(raw, prompt.tag, thresholds).values()].flat());
  return { input, objects: raw.filter((object) => kept.has(object)) };
}

/**
 * Names colours where a clause asks for the colour of the object's class, and of no others: that may cost more than finding
 * the objects. All pictures of the batch go together.
 */
async function nameColors(
  readings: readonly Reading[],
  colors: ColorClassifier,
): Promise<ReadonlyMap<RawDetection, ObjectColor>> {
  const asked = readings.flatMap(({ input: { prompt, image }, objects }) => {
    const classes = new Set(prompt.include.flatMap((clause) => (clause.color === undefined ? [] : [clause.class])));
    return objects.filter(({ className }) => classes.has(className)).map((object) => ({ object, image }));
  });
  const names = await colors.classify(asked.map(({ object, image }): ObjectView => ({ ...object, image })));
  return new Map(asked.map(({ object }, index) => [object, names[index] ?? null]));
}

function judge(
  { input: { prompt }, objects }: Reading,
  colors: ReadonlyMap<RawDetection, ObjectColor>,
  thresholds: GenevalThresholds,
  colorBackend: string,
): ScorerOutcome {
  const seen: SeenObject[] = [];
  for (const object of objects) {
    const color = colors.get(object) ?? null;
    if (typeof color === 'object' && color !== null) return { kind: 'failed', failure: color };
    const { className, score, box, mask } = object;
    seen.push({ className, score, box, color, mask: mask && encodeMask(mask) });
  }
  const { correct, strict, score, clampedScore, clauseVector } = judgeGeneval(seen, prompt, thresholds);
  const evidence: DetectionEvidence = {
    kind: 'detections',
    detections: [...selectObjects(seen, prompt.tag, thresholds).values()].flat(),
    reason: strict.reason || correct.reason,
    failures: [...correct.failures, ...strict.failures],
    clauseVector,
    colorBackend,
  };
  const values = { score, clamped: clampedScore, strict: Number(strict.passed), correct: Number(correct.passed) };
  return { kind: 'value', values, evidence };
}
