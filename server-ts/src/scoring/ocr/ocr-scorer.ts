import { StarError } from '../../core/errors.js';
import { ocrReward } from '../../core/ocr-reward.js';
import { alignText } from '../../core/text-alignment.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { failedOutcome, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import type { OcrManifest } from './ocr-manifest.js';
import { openTextReader, type ReadLine, type TextReader } from './text-reader.js';

/**
 * OCR reward over the text reader of a bundle (rewards.md 2.1).
 *
 * Reports `score` (the reward, 0..1; 0 when nothing is read) and `strict` (1 when the reward is 1).
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph cannot be loaded
 */
export async function openOcrScorer(bundle: ScorerBundle<OcrManifest>): Promise<Scorer> {
  const reader = await openTextReader(bundle);
  return {
    async score(inputs) {
      const outcomes: ScorerOutcome[] = [];
      for (const input of inputs) outcomes.push(await scoreOne(reader, input));
      return outcomes;
    },
    close: () => reader.close(),
  };
}

async function scoreOne(reader: TextReader, { prompt, image }: ScorerInput): Promise<ScorerOutcome> {
  if (prompt.targetText === null) {
    return failedOutcome('PROMPT_INVALID', `prompt ${prompt.prompt} has no text between straight double quotes`);
  }
  try {
    return judge(await reader.read(image), prompt.targetText);
  } catch (error) {
    const { reason, message } = StarError.from(error);
    return failedOutcome(reason, message);
  }
}

function judge(lines: readonly ReadLine[], target: string): ScorerOutcome {
  const wrong = lines.find((line) => !Number.isFinite(line.confidence));
  if (wrong !== undefined) {
    return failedOutcome('SCORE_NOT_FINITE', `the recogniser gave a line with confidence ${wrong.confidence}`);
  }
  const text = lines.map((line) => line.text).join('');
  const reward = ocrReward(text, target);
  return {
    kind: 'value',
    values: { score: reward, strict: reward === 1 ? 1 : 0 },
    evidence: { kind: 'text', text, lines, alignment: alignText(text, target) },
  };
}
