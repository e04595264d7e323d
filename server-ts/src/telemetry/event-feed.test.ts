import { describe, expect, it } from 'vitest';
import { EventFeed, type FeedEvent } from './event-feed.js';

describe('EventFeed', () => {
  it('gives a late subscriber what it missed and then what follows', () => {
    const feed = new EventFeed();
    feed.publish('a', 'one', {});
    feed.publish('b', 'other run', {});
    feed.publish('a', 'two', {});
    const seen: string[] = [];
    feed.subscribe('a', 1, (event) => seen.push(event.name));
    feed.publish('a', 'three', {});
    expect(seen).toEqual(['two', 'three']);
  });

  it('keeps a bounded number of events with rising ids', () => {
    const feed = new EventFeed(2);
    for (const name of ['one', 'two', 'three']) feed.publish('a', name, {});
    const seen: FeedEvent[] = [];
    feed.subscribe(null, 0, (event) => seen.push(event));
    expect(seen.map((event) => event.id)).toEqual([2, 3]);
  });

  it('stops after unsubscribing and drops a listener that throws', () => {
    const feed = new EventFeed();
    const seen: string[] = [];
    const end = feed.subscribe('a', 0, (event) => seen.push(event.name));
    let calls = 0;
    feed.subscribe('a', 0, () => {
      calls += 1;
      throw new Error('broken view');
    });
    feed.publish('a', 'one', {});
    end();
    feed.publish('a', 'two', {});
    expect(seen).toEqual(['one']);
    expect(calls).toBe(1);
  });
});
