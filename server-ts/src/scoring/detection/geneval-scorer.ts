import { type GenevalThresholds, judgeGeneval, selectObjects } from '../../core/geneval-rules.js';
import type { Detection, PromptRecord } from '../../core/types.js';
import type { RgbImage } from '../image/rgb-image.js';
import { failedOutcome, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import type { ColorClassifier } from './color-classifier.js';
import type { ObjectDetector, RawDetection } from './onnx-detector.js';

/**
 * GenEval over any detector: detect, name the colours of the objects that count, apply the rules.
 *
 * Reports `score` (Flow-GRPO's training score, at most 1), `strict` and `correct` (0 or 1).
 */
export function createGenevalScorer(
  detector: ObjectDetector,
  colors: ColorClassifier,
  thresholds: GenevalThresholds,
): Scorer {
  return {
    async score(inputs) {
      const detected = await detector.detect(inputs.map(({ image }) => image));
      return inputs.map((input, index) => judge(input, detected[index] ?? [], colors, thresholds));
    },
    close: () => detector.close(),
  };
}

function judge(
  { prompt, image }: ScorerInput,
  raw: readonly RawDetection[],
  colors: ColorClassifier,
  thresholds: GenevalThresholds,
): ScorerOutcome {
  if (prompt.include.length + prompt.exclude.length === 0) {
    return failedOutcome('PROMPT_INVALID', `prompt "${prompt.prompt}" has no GenEval clauses (include or exclude)`);
  }
  const wrong = raw.find((found) => ![found.score, ...found.box].every(Number.isFinite));
  if (wrong !== undefined) {
    const numbers = `score ${wrong.score}, box [${wrong.box.join(', ')}]`;
    return failedOutcome('SCORE_NOT_FINITE', `the detector gave a ${wrong.className} with ${numbers}`);
  }
  const detections = nameColors(image, raw, prompt, colors, thresholds);
  const result = judgeGeneval(detections, prompt, thresholds);
  const evidence = {
    kind: 'detections',
    detections: [...selectObjects(detections, prompt.tag, thresholds).values()].flat(),
    reason: result.strict.reason || result.correct.reason,
  } as const;
  const { strict, correct, score } = result;
  return { kind: 'value', values: { score, strict: Number(strict.passed), correct: Number(correct.passed) }, evidence };
}

/**
 * Objects that count, in the detector's order (on which ties depend), with their colours where a clause asks for the colour of
 * their class: naming colours may cost more than finding objects.
 */
function nameColors(
  image: RgbImage,
  raw: readonly RawDetection[],
  prompt: PromptRecord,
  colors: ColorClassifier,
  thresholds: GenevalThresholds,
): Detection[] {
  const plain = raw.map(({ className, score, box }): Detection => ({ className, score, box, color: null }));
  const kept = new Set([...selectObjects(plain, prompt.tag, thresholds).values()].flat());
  const asked = new Set(prompt.include.flatMap((clause) => (clause.color === undefined ? [] : [clause.class])));
  return plain.flatMap((detection, index) => {
    if (!kept.has(detection)) return [];
    if (!asked.has(detection.className)) return [detection];
    return [{ ...detection, color: colors.classify(image, detection.box, raw[index]?.mask ?? null) }];
  });
}
