import { type Request, text } from 'express';
import { StarError } from '../core/errors.js';

/** Largest body, bytes. */
const MAX_BYTES = 262_144;

const TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml', 'text/plain', 'application/json', 'text/x-yaml'];

/** Reads YAML or JSON as text: messages about it name line and column. */
export const yamlText = text({ type: TYPES, limit: MAX_BYTES });

/** @throws StarError RECIPE_INVALID for a body that is empty or of another type */
export function yamlBody(request: Request, what: string): string {
  const body: unknown = request.body;
  if (typeof body === 'string' && body.trim() !== '') return body;
  const message = `send ${what} as body with content-type application/yaml or application/json`;
  throw new StarError('RECIPE_INVALID', message);
}
