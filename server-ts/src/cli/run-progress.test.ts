import { describe, expect, it } from 'vitest';
import { parseEvents, type ServerEvent } from './event-parser.js';
import {
  durationText,
  initialProgress,
  progressLine,
  type RunProgress,
  takeEvent,
  timeLeftMs,
} from './run-progress.js';

const event = (name: string, fields: Record<string, unknown> = {}): ServerEvent => ({ id: 1, name, fields });

function play(progress: RunProgress, story: readonly (readonly [number, ServerEvent])[]): RunProgress {
  return story.reduce((state, [seconds, next]) => takeEvent(state, next, seconds * 1_000), progress);
}

const FIRST_ITERATION: readonly (readonly [number, ServerEvent])[] = [
  [0, event('run.waiting_for_worker')],
  [1, event('run.preparing')],
  [2, event('evaluation.started')],
  [4, event('run.progress', { phase: 'sampling', fraction: 0.5 })],
  [12, event('evaluation.completed')],
  [12, event('run.progress', { phase: 'sampling', fraction: 0 })],
  [16, event('metrics', { iteration: 0, values: { reward_mean: 0.25 } })],
];

describe('time left', () => {
  it('counts iterations and the evaluations to come at their measured durations', () => {
    const progress = play(initialProgress({ iterations: 10, completedIterations: 0, every: 0 }), FIRST_ITERATION);
    // 9 iterations of 4 s, one evaluation of 10 s.
    expect(timeLeftMs(progress, 16_000)).toBe(46_000);
    const running = play(progress, [[16, event('run.progress', { phase: 'sampling', fraction: 0 })]]);
    expect(timeLeftMs(running, 19_000)).toBe(43_000);
    expect(timeLeftMs(running, 60_000)).toBe(42_000);
  });

  it('knows evaluations in between, also for a run that is taken up again', () => {
    const left = (completedIterations: number, every: number): number =>
      initialProgress({ iterations: 10, completedIterations, every }).remainingEvaluations;
    expect([left(0, 0), left(0, 3), left(4, 3), left(9, 3), left(10, 5)]).toEqual([2, 5, 3, 1, 1]);
  });

  it('says nothing before an iteration was timed', () => {
    const progress = play(
      initialProgress({ iterations: 10, completedIterations: 0, every: 0 }),
      FIRST_ITERATION.slice(0, 5),
    );
    expect(timeLeftMs(progress, 12_000)).toBeNull();
    expect(progressLine(progress, 12_000)).toBe('iteration 1/10 | evaluated | time left: measuring');
  });
});

describe('progress line', () => {
  it('shows iteration, phase with share, reward and time left', () => {
    const start = initialProgress({ iterations: 10, completedIterations: 0, every: 0 });
    const progress = play(start, [
      ...FIRST_ITERATION,
      [16, event('run.progress', { phase: 'optimising', fraction: 0.31 })],
    ]);
    expect(progressLine({ ...progress, accuracy: 0.5 }, 16_000)).toBe(
      'iteration 2/10 | optimising 31% | reward 0.250 | accuracy 50.0% | 46 s left',
    );
  });

  it('stays on evaluating while the worker samples for it', () => {
    const start = initialProgress({ iterations: 1, completedIterations: 0, every: 0 });
    const progress = play(start, FIRST_ITERATION.slice(0, 4));
    expect([progress.phase, progress.fraction]).toEqual(['evaluating', 0.5]);
  });

  it('writes durations for people', () => {
    expect([950, 99_000, 720_000, 12_000_000].map(durationText)).toEqual(['1 s', '99 s', '12 min', '3 h 20 min']);
  });
});

describe('parseEvents', () => {
  async function collect(chunks: readonly string[]): Promise<ServerEvent[]> {
    async function* stream(): AsyncGenerator<string> {
      yield* chunks;
    }
    const events: ServerEvent[] = [];
    for await (const parsed of parseEvents(stream())) events.push(parsed);
    return events;
  }

  it('puts events together across chunks and skips comments', async () => {
    const chunks = [
      ': connected\n\nid: 4\nevent: met',
      'rics\ndata: {"iteration":1}\n',
      '\nid: 5\nevent: x\ndata: {}\n\nid: 6',
    ];
    expect(await collect(chunks)).toEqual([
      { id: 4, name: 'metrics', fields: { iteration: 1 } },
      { id: 5, name: 'x', fields: {} },
    ]);
  });
});
