import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { curveKeyPair } from 'zeromq';
import { z } from 'zod';
import { StarError } from '../../core/errors.js';

const Z85_KEY_CHARS = 40;
const publicKey = z.string().length(Z85_KEY_CHARS);
const keyFile = z.strictObject({ publicKey, secretKey: z.string().length(Z85_KEY_CHARS) });

/** A CURVE key pair, Z85. */
export type CurveKeys = z.infer<typeof keyFile>;

/**
 * Reads a key file, or writes a new one that only this user can read.
 *
 * @throws StarError ARGUMENT_INVALID for a file that is none, or that others can read
 */
export async function ensureCurveKeys(path: string): Promise<CurveKeys> {
  const { publicKey, secretKey } = curveKeyPair();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    // wx: never over an existing one.
    await writeFile(path, `${JSON.stringify({ publicKey, secretKey }, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readCurveKeys(path);
}

/** As `ensureCurveKeys`, for a file that must be there. */
export async function readCurveKeys(path: string): Promise<CurveKeys> {
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8);
    throw new StarError('ARGUMENT_INVALID', `others can read the secret key in ${path} (mode ${octal}); run chmod 600`);
  }
  try {
    return keyFile.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    throw new StarError('ARGUMENT_INVALID', `${path} is not a key file written by star scorer-keys`, {}, error);
  }
}

/**
 * Public keys that may dial in: one a line, then anything for people; lines that start with "# " are comments. Read anew for
 * every host that dials, so that a key can be added and taken away while the control plane runs.
 *
 * @returns the text after the key, or null for an unknown key; a missing file knows nobody
 */
export async function findAuthorized(path: string, key: string): Promise<string | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const lines = text.split('\n').filter((line) => !line.startsWith('# '));
  const found = lines.map((line) => line.trim().split(/\s+/)).find(([first]) => first === key);
  return found === undefined ? null : found.slice(1).join(' ');
}
