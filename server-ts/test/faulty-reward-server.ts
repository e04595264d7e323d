import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';

/** What the server says of a picture; decided by the picture alone, so that a test knows it too. */
export type Fate = { readonly kind: 'value'; readonly score: number } | { readonly kind: 'failed' | 'notFinite' };

const FAILED_SHARE = 0.2;
const NOT_FINITE_SHARE = 0.05;
const MOST_DELAY_MS = 40;

/** Two uniform numbers in [0, 1) from the bytes of the picture. */
export function fateOf(picture: Uint8Array): Fate {
  const digest = createHash('sha256').update(picture).digest();
  const [luck, score] = [digest.readUInt32LE(0) / 2 ** 32, digest.readUInt32LE(4) / 2 ** 32] as const;
  if (luck < FAILED_SHARE) return { kind: 'failed' };
  return luck < FAILED_SHARE + NOT_FINITE_SHARE ? { kind: 'notFinite' } : { kind: 'value', score };
}

/** A reward server in which a fifth of the pictures fails, a twentieth gets an infinite number, and every answer is late. */
export async function startFaultyServer(): Promise<{ url: string; close: () => void }> {
  let calls = 0;
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(404).end();
    const body = await textOf(request);
    calls += 1;
    await delay((createHash('sha256').update(String(calls)).digest().readUInt8(0) / 255) * MOST_DELAY_MS);
    const { items } = JSON.parse(body) as { items: { id: string; image: string }[] };
    const results = items.map(({ id, image }) => resultText(id, fateOf(Buffer.from(image, 'base64'))));
    return response.writeHead(200, { 'content-type': 'application/json' }).end(`{"results": [${results.join(', ')}]}`);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/score`, close };
}

/** Bundle of a server. */
export async function writeHttpBundle(folder: string, url: string): Promise<void> {
  const common = { name: 'faulty', version: '1', kind: 'http', licence: 'none', source: 'written by a test' };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'manifest.yaml'), stringify({ ...common, url, maxBatch: 2, values: ['score'] }));
}

function resultText(id: string, fate: Fate): string {
  if (fate.kind === 'failed') return `{"id": "${id}", "error": {"reason": "SCORER_CRASHED", "message": "bad luck"}}`;
  // JSON has no infinity, but this number becomes one.
  return `{"id": "${id}", "values": {"score": ${fate.kind === 'value' ? fate.score : '1e999'}}}`;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}
