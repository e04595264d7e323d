import type { DetectionEvidence } from './types.js';

/** One picture's line in GenEval's results file, field by field as the official script writes it. */
export interface GenevalResult {
  readonly filename: string;
  readonly tag: string;
  readonly prompt: string;
  readonly correct: boolean;
  /** Failures of the official rules, one a line. */
  readonly reason: string;
  /** The prompt's metadata as JSON text. */
  readonly metadata: string;
  /** JSON text: class to boxes [left, top, right, bottom, score]. */
  readonly details: string;
}

/** A share with what it is made of. */
export interface Share {
  readonly correct: number;
  readonly total: number;
}

/** GenEval's summary. */
export interface GenevalSummary {
  readonly images: Share;
  /** Prompts with at least one correct picture; prompts are told apart by their metadata. */
  readonly prompts: Share;
  /** In order of appearance. */
  readonly tags: readonly (Share & { readonly tag: string })[];
  /** Plain mean of the tags' shares, 0..1; null without pictures. */
  readonly overall: number | null;
}

/**
 * Result line of a scored picture.
 *
 * @param metadata the prompt's line: an object with at least `tag` and `prompt`
 * @param correct verdict of the official rules
 */
export function genevalResult(
  filename: string,
  metadata: { readonly tag: string; readonly prompt: string },
  correct: boolean,
  { detections, failures }: DetectionEvidence,
): GenevalResult {
  const byClass = Map.groupBy(detections, ({ className }) => className);
  const boxes = [...byClass].map(([className, list]) => [className, list.map(({ box, score }) => [...box, score])]);
  const official = failures.filter(({ ruleSet }) => ruleSet === 'official');
  return {
    filename,
    tag: metadata.tag,
    prompt: metadata.prompt,
    correct,
    reason: official.map(({ message }) => message).join('\n'),
    metadata: JSON.stringify(metadata),
    details: JSON.stringify(Object.fromEntries(boxes)),
  };
}

/** Counts what the official summary counts (rewards.md 1.5). */
export function summarizeGeneval(results: readonly GenevalResult[]): GenevalSummary {
  const groups = (key: (result: GenevalResult) => string) => [...Map.groupBy(results, key)];
  const tags = groups(({ tag }) => tag).map(([tag, list]) => ({ tag, ...shareOf(list) }));
  const prompts = groups(({ metadata }) => metadata).map(([, list]) => list.some(({ correct }) => correct));
  const overall = tags.reduce((sum, { correct, total }) => sum + correct / total, 0) / tags.length;
  return {
    images: shareOf(results),
    prompts: { correct: prompts.filter((correct) => correct).length, total: prompts.length },
    tags,
    overall: tags.length === 0 ? null : overall,
  };
}

function shareOf(results: readonly GenevalResult[]): Share {
  return { correct: results.filter(({ correct }) => correct).length, total: results.length };
}

/** The summary in the words and digits of the official script. */
export function summaryText({ images, prompts, tags, overall }: GenevalSummary): string {
  return [
    'Summary',
    '=======',
    `Total images: ${images.total}`,
    `Total prompts: ${prompts.total}`,
    `% correct images: ${percent(images)}`,
    `% correct prompts: ${percent(prompts)}`,
    '',
    'Task breakdown',
    '==============',
    ...tags.map((one) => `${one.tag.padEnd(16)} = ${percent(one)} (${one.correct} / ${one.total})`),
    '',
    `Overall score (avg. over tasks): ${overall === null ? 'no pictures' : overall.toFixed(5)}`,
  ].join('\n');
}

function percent({ correct, total }: Share): string {
  return total === 0 ? 'none' : `${((100 * correct) / total).toFixed(2)}%`;
}
