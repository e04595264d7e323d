import { expect, test } from 'vitest';
import { type GenevalResult, genevalResult, summarizeGeneval, summaryText } from './geneval-report.js';

const result = (tag: string, prompt: string, correct: boolean): GenevalResult => ({
  filename: 'x.png',
  tag,
  prompt,
  correct,
  reason: '',
  metadata: JSON.stringify({ tag, prompt }),
  details: '{}',
});

// Three colours (one right) and one single object: the mean over tags is not the mean over pictures.
const results = [
  result('colors', 'a red cup', true),
  result('colors', 'a red cup', false),
  result('colors', 'a blue cup', false),
  result('single_object', 'a cup', true),
];

test('overall is the mean over tags; a prompt counts when one of its pictures is right', () => {
  expect(summarizeGeneval(results)).toEqual({
    images: { correct: 2, total: 4 },
    prompts: { correct: 2, total: 3 },
    tags: [
      { tag: 'colors', correct: 1, total: 3 },
      { tag: 'single_object', correct: 1, total: 1 },
    ],
    overall: (1 / 3 + 1) / 2,
  });
  expect(summarizeGeneval([]).overall).toBeNull();
});

test('the text is that of the official script', () => {
  expect(summaryText(summarizeGeneval(results))).toBe(`Summary
=======
Total images: 4
Total prompts: 3
% correct images: 50.00%
% correct prompts: 66.67%

Task breakdown
==============
colors           = 33.33% (1 / 3)
single_object    = 100.00% (1 / 1)

Overall score (avg. over tasks): 0.66667`);
});

test('a line holds the official failures and the boxes by class', () => {
  const metadata = { tag: 'colors', prompt: 'a red cup', include: [{ class: 'cup', count: 1, color: 'red' }] };
  const seen = { className: 'cup', score: 0.5, color: null, mask: null };
  const line = genevalResult('00000/samples/0000.png', metadata, false, {
    kind: 'detections',
    detections: [
      { ...seen, box: [0, 1, 2, 3] },
      { ...seen, box: [4, 5, 6, 7] },
    ],
    reason: 'strict words',
    failures: [
      { ruleSet: 'official', list: 'include', index: 0, message: 'official words' },
      { ruleSet: 'strict', list: 'include', index: 0, message: 'strict words' },
    ],
    clauseVector: [],
    colorBackend: 'lab',
  });
  expect(line).toEqual({
    filename: '00000/samples/0000.png',
    tag: 'colors',
    prompt: 'a red cup',
    correct: false,
    reason: 'official words',
    metadata: JSON.stringify(metadata),
    details: '{"cup":[[0,1,2,3,0.5],[4,5,6,7,0.5]]}',
  });
});
