import type { Request, Response } from 'express';
import type { LiveEvents } from './ports.js';

/** Comment lines that keep proxies from closing a quiet stream. */
const KEEP_ALIVE_MS = 15_000;

/** Unsent bytes after which a slow reader is cut off; it comes back with Last-Event-ID. */
const MAX_UNSENT_BYTES = 1_048_576;

/**
 * Answers with server-sent events of a run until the client leaves: `id`, `event` (name) and `data` (JSON fields).
 *
 * @param afterId events up to this id are not repeated
 */
export function streamEvents(
  request: Request,
  response: Response,
  events: LiveEvents,
  from: { readonly runId: string | null; readonly afterId: number },
): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    connection: 'keep-alive',
    'x-accel-buffering': 'no',
  });
  response.write(': connected\n\n');
  const end = events.subscribe(from.runId, from.afterId, (event) => {
    const name = event.name.replaceAll(/[\r\n]/g, ' ');
    response.write(`id: ${event.id}\nevent: ${name}\ndata: ${JSON.stringify(event.fields)}\n\n`);
    if (response.writableLength > MAX_UNSENT_BYTES) response.destroy();
  });
  const keepAlive = setInterval(() => response.write(': alive\n\n'), KEEP_ALIVE_MS);
  keepAlive.unref();
  const close = (): void => {
    clearInterval(keepAlive);
    end();
  };
  request.on('close', close);
  response.on('close', close);
}

/** Id of the last event that the client has: header `Last-Event-ID` of a reconnecting client, else `?after=`. */
export function lastEventId(request: Request, after: number): number {
  const header = request.get('last-event-id');
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : after;
}
