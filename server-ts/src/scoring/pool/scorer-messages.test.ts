import { expect, test } from 'vitest';
import { abstention, failedOutcome, type ScorerOutcome } from '../scorer.js';
import { decodeProcessMessage, encodeProcessMessage } from './scorer-messages.js';

test('value, abstention and failure stay apart on the wire', () => {
  const outcomes: ScorerOutcome[] = [
    { kind: 'value', values: { score: 0 }, evidence: { kind: 'none' } },
    abstention('the prompt asks for no text'),
    failedOutcome('SCORER_TIMEOUT', 'no answer in 100 ms'),
  ];
  const message = { kind: 'result', batchId: 7n, attempt: 2, outcomes } as const;
  expect(decodeProcessMessage(encodeProcessMessage(message))).toEqual(message);
});
