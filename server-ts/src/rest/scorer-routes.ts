import { Router } from 'express';
import { parse, scorerParams } from './params.js';
import type { RestServices } from './ports.js';

/** Routes of scorer bundles; read only, because adding one copies files of this machine (`star scorers add`). */
export function scorerRoutes({ scorers }: RestServices): Router {
  const router = Router();
  router.get('/scorers', async (_request, response) => {
    response.json(await scorers.list());
  });
  router.get('/scorers/:reference', async (request, response) => {
    response.json(await scorers.find(parse(scorerParams, request.params).reference));
  });
  return router;
}
