import { describe, expect, it } from 'vitest';
import { parsePromptFile, quotedText } from './prompt-records.js';
import type { Task } from './types.js';

const jsonl = (text: string, task: Task) => parsePromptFile({ name: 'p.jsonl', format: 'jsonl', text }, task);
const txt = (text: string, task: Task) => parsePromptFile({ name: 'p.txt', format: 'txt', text }, task);

describe('parsePromptFile', () => {
  it('reads GenEval metadata', () => {
    const line =
      '{"tag":"position","include":[{"class":"sink","count":1},{"class":"tie","count":1,"position":["above",0]}],"prompt":"p"}';
    expect(jsonl(`${line}\n\n`, 'geneval')).toEqual([
      {
        tag: 'position',
        prompt: 'p',
        include: [
          { class: 'sink', count: 1 },
          { class: 'tie', count: 1, position: ['above', 0] },
        ],
        exclude: [],
        targetText: null,
      },
    ]);
  });

  it('reads OCR lines of both formats', () => {
    const expected = { tag: 'ocr', prompt: 'a sign that says "ABC"', include: [], exclude: [], targetText: 'ABC' };
    expect(txt('\uFEFF a sign that says "ABC" \r\n', 'ocr')).toEqual([expected]);
    expect(jsonl('{"tag":"ocr","prompt":"a sign that says \\"ABC\\"","text":"ABC"}', 'ocr')).toEqual([expected]);
  });

  it.each([
    ['not JSON', 'geneval', '{}\n{'],
    ['no include', 'geneval', '{"tag":"t","prompt":"p","include":[]}'],
    [
      'a later reference',
      'geneval',
      '{"tag":"t","prompt":"p","include":[{"class":"a","count":1,"position":["above",0]}]}',
    ],
    [
      'an unknown relation',
      'geneval',
      '{"tag":"t","prompt":"p","include":[{"class":"a","count":1,"position":["near",0]}]}',
    ],
    ['another text than quoted', 'ocr', '{"prompt":"a sign \\"A\\"","text":"B"}'],
  ] as const)('refuses %s with the line number', (_, task, text) => {
    expect(() => jsonl(text, task)).toThrow(/^p\.jsonl:[12]: /);
  });

  it.each([
    ['a sign', 'there are none'],
    ['a sign \u201cA\u201d', 'these are curly ones'],
    ['a sign \u00abA\u00bb', 'these are curly ones'],
    ['a sign "A', 'there is only one'],
    ['a sign ""', 'nothing but spaces between'],
    ['a sign " " and "B"', 'nothing but spaces between'],
  ])('refuses %j with the line number and what is wrong with its quotes', (prompt, fault) => {
    const text = `a sign "OK"\n\n${prompt}`;
    expect(() => txt(text, 'ocr')).toThrow(new RegExp(`^p\\.txt:3: .*straight double quotes, .*${fault}`));
  });

  it('refuses an empty file and GenEval without metadata', () => {
    expect(() => txt('\n', 'pickscore')).toThrow('p.txt has no prompts');
    expect(() => txt('a photo', 'geneval')).toThrow('use a .jsonl file');
  });
});

describe('quotedText', () => {
  it('is the text between the first two straight quotes', () => {
    expect(quotedText('x "A b" y "C"')).toBe('A b');
    expect(quotedText('x "A')).toBeNull();
  });
});
