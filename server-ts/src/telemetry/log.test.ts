import { describe, expect, it } from 'vitest';
import { createLog, prettyLogLine } from './log.js';

function collect(options: { pretty?: boolean; level?: 'debug' | 'info' }): {
  lines: string[];
  log: ReturnType<typeof createLog>;
} {
  const lines: string[] = [];
  return { lines, log: createLog({ write: (line) => lines.push(line) }, options) };
}

describe('createLog', () => {
  it('writes one JSON object a line with its ids', () => {
    const { lines, log } = collect({});
    log.info({ runId: 'r1', iteration: 3 }, 'iteration done');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ runId: 'r1', iteration: 3, msg: 'iteration done' });
  });

  it('writes a text line when pretty, without lines below the level', () => {
    const { lines, log } = collect({ pretty: true });
    log.debug('hidden');
    log.warn({ runId: 'r1', rewardMean: 0.123456 }, 'slow');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}slow {2}runId=r1 rewardMean=0\.1235\n$/);
  });

  it('leaves what is not JSON unchanged', () => {
    expect(prettyLogLine('plain\n')).toBe('plain\n');
  });
});
