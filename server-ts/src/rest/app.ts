import express, { type Express, type RequestHandler } from 'express';
import { StarError } from '../core/errors.js';
import { artifactRoutes } from './artifact-routes.js';
import type { RestServices } from './ports.js';
import { noRoute, problemHandler } from './problem.js';
import { rewardRoutes } from './reward-routes.js';
import { runRoutes } from './run-routes.js';
import { scorerRoutes } from './scorer-routes.js';

/** Headers that keep browsers from doing more than showing an answer. */
const securityHeaders: RequestHandler = (_request, response, next) => {
  response.set({
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  });
  next();
};

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * There is no authentication yet, so only programs of this machine may call. A web page in a browser of this machine is
 * refused too: by its Host header (a foreign name that resolves to loopback) and by its Origin.
 */
const loopbackOnly: RequestHandler = (request, _response, next) => {
  const origin = request.get('origin');
  const foreign = origin !== undefined && !LOOPBACK_HOST.test(origin.replace(/^https?:\/\//, ''));
  if (!LOOPBACK_HOST.test(request.get('host') ?? '') || foreign) {
    throw new StarError('ARGUMENT_INVALID', 'only requests to and from this machine are answered; use 127.0.0.1');
  }
  next();
};

/** The HTTP API as an express app; `rest/listen.ts` serves it. */
export function createRestApp(services: RestServices): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(securityHeaders, loopbackOnly);
  app.get('/healthz', (_request, response) => {
    response.json({ ok: true });
  });
  app.get('/metrics', async (_request, response) => {
    const { contentType, text } = await services.exposeMetrics();
    response.set('content-type', contentType).send(text);
  });
  app.get('/v1/status', (_request, response) => {
    response.json(services.status());
  });
  app.use('/v1', runRoutes(services), rewardRoutes(services), artifactRoutes(services), scorerRoutes(services));
  app.use(noRoute, problemHandler(services.logError));
  return app;
}
