import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { checkGoldenFolder, findVocabulary } from './check.js';

const own = fileURLToPath(new URL('../../../golden', import.meta.url));
const shared = fileURLToPath(new URL('../../../../shared/golden', import.meta.url));

function expectNoMismatch(folder: string): void {
  const reports = checkGoldenFolder(folder, findVocabulary(folder, join(folder, 'absent')));
  expect(reports.length).toBeGreaterThanOrEqual(4);
  for (const report of reports) expect(report).toMatchObject({ mismatches: 0, examples: [] });
}

describe('golden check', () => {
  it('has no mismatch in its own vectors', () => expectNoMismatch(own));

  it.skipIf(!existsSync(shared))('has no mismatch with the public reference implementations', () => {
    expectNoMismatch(shared);
  });

  it('counts mismatches, reads .gz and skips tokens without a vocabulary', () => {
    const folder = mkdtempSync(join(tmpdir(), 'golden-'));
    const cases = [
      { rec: 'a', tgt: 'a', reward: 1 },
      { rec: 'b', tgt: 'a', reward: 1 },
    ];
    writeFileSync(join(folder, 'ocr_cases.json.gz'), gzipSync(JSON.stringify(cases)));
    writeFileSync(join(folder, 'clip_tokens.json'), '[{"t":"a","ids":[1]}]');
    const reports = checkGoldenFolder(folder, findVocabulary(folder, join(folder, 'absent')));
    expect(reports.map(({ name, cases: count, mismatches }) => [name, count, mismatches])).toEqual([
      ['ocr_cases', 2, 1],
      ['clip_tokens', 0, 0],
    ]);
    expect(reports[1]?.skipped).toBe('no vocabulary');
  });
});
