import { StarError } from '../../core/errors.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { failedOutcome, type Scorer, type ScorerInput, type ScorerOutcome } from '../scorer.js';
import type { HttpManifest } from './http-manifest.js';
import { infoSchema, outcomesOf, requestBody } from './http-messages.js';

const INFO_BYTES = 65_536;
/** Statuses that the same request may not meet again. */
const PASSING_STATUSES = [408, 425, 429, 500, 502, 503, 504];

/**
 * Opens the server of an HTTP bundle. An answer that cannot be had fails the pictures of its batch with a reason: an
 * unreachable or busy server with SCORER_UNAVAILABLE, a slow one with SCORER_TIMEOUT, anything that is not as agreed with
 * SCORER_ANSWER_INVALID.
 *
 * @param env source of the header values
 * @throws StarError SCORER_NOT_LOADABLE when a variable is not set or the server cannot be reached
 */
export async function openHttpScorer(
  { manifest }: ScorerBundle<HttpManifest>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Scorer> {
  const headers = { ...readHeaders(manifest, env), 'content-type': 'application/json', accept: 'application/json' };
  const version = await readVersion(manifest, headers);
  return {
    runtime: version === null ? `http ${new URL(manifest.url).host}` : `http ${version}`,
    score: async (inputs) => (inputs.length === 0 ? [] : scoreBatch(manifest, headers, inputs)),
    close: async () => undefined,
  };
}

type Headers = Readonly<Record<string, string>>;

function readHeaders(manifest: HttpManifest, env: Readonly<Record<string, string | undefined>>): Headers {
  const pairs = Object.entries(manifest.headers).map(([name, variable]) => {
    const value = env[variable];
    if (value !== undefined && value !== '') return [name, value];
    throw notLoadable(
      `header ${name} of ${manifest.name} comes from the environment variable ${variable}, which is not set`,
    );
  });
  return Object.fromEntries(pairs);
}

/** Version that the server declares; null where it has no `info`. */
async function readVersion(manifest: HttpManifest, headers: Headers): Promise<string | null> {
  const url = new URL('info', manifest.url);
  let body: string;
  try {
    const response = await request(url, { headers }, manifest.timeoutMs);
    if (!response.ok) return null;
    body = await readBody(response, INFO_BYTES);
  } catch (error) {
    throw notLoadable(`${manifest.name} does not answer at ${url}: ${reasonOf(error)}`, error);
  }
  const info = infoSchema.safeParse(parseJson(body));
  if (info.success) return info.data.version;
  throw notLoadable(`${url} must answer {"version": "..."}, received ${body.slice(0, 200)}`);
}

async function scoreBatch(
  manifest: HttpManifest,
  headers: Headers,
  inputs: readonly ScorerInput[],
): Promise<ScorerOutcome[]> {
  try {
    const init = { method: 'POST', headers, body: requestBody(inputs) };
    const response = await request(new URL(manifest.url), init, manifest.timeoutMs);
    const body = await readBody(response, manifest.maxResponseBytes);
    if (response.ok) return outcomesOf(body, inputs.length, manifest.values);
    const reason = PASSING_STATUSES.includes(response.status) ? 'SCORER_UNAVAILABLE' : 'SCORER_ANSWER_INVALID';
    throw new StarError(reason, `${manifest.url} answered ${response.status}: ${body.slice(0, 200)}`);
  } catch (error) {
    const { reason, message } = failureOf(error, manifest);
    return inputs.map(() => failedOutcome(reason, message));
  }
}

/** The limit covers the body too. */
function request(url: URL, init: RequestInit, timeoutMs: number): Promise<Response> {
  return fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(timeoutMs) });
}

/** @throws StarError SCORER_ANSWER_INVALID as soon as more than `limit` bytes have come */
async function readBody(response: Response, limit: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let byteCount = 0;
  for await (const part of response.body ?? []) {
    byteCount += part.length;
    if (byteCount > limit) {
      throw new StarError(
        'SCORER_ANSWER_INVALID',
        `the answer has more than the ${limit} bytes that the manifest allows`,
      );
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function failureOf(error: unknown, { url, timeoutMs }: HttpManifest): StarError {
  if (error instanceof StarError) return error;
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new StarError('SCORER_TIMEOUT', `${url} did not answer in ${timeoutMs} ms`, {}, error);
  }
  return new StarError('SCORER_UNAVAILABLE', `${url} cannot be reached: ${reasonOf(error)}`, {}, error);
}

/** fetch hides what went wrong in `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notLoadable(message: string, cause?: unknown): StarError {
  return new StarError('SCORER_NOT_LOADABLE', message, {}, cause);
}
