import { Router } from 'express';
import { StarError } from '../core/errors.js';
import { evaluationImageParams, parse, rolloutParams, runParams } from './params.js';
import type { RestServices } from './ports.js';

/** The report runs no script and loads nothing from anywhere. */
const REPORT_POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** Routes of files: pictures, maps, reports. Paths come from the store, never from the client. */
export function artifactRoutes(services: RestServices): Router {
  const router = Router();
  rolloutFiles(router, services);
  router.get('/runs/:runId/evaluations/:policyVersion/:position/image', async (request, response) => {
    const { runId, policyVersion, position } = parse(evaluationImageParams, request.params);
    const evaluation = services.store.evaluations(runId).find((entry) => entry.policyVersion === policyVersion);
    const path = evaluation?.items[position]?.imagePath ?? missing(runId, `evaluation ${policyVersion}/${position}`);
    response.type('image/png').send(Buffer.from(await services.artifacts.get(runId, path)));
  });
  reportRoutes(router, services);
  return router;
}

function rolloutFiles(router: Router, { store, artifacts }: RestServices): void {
  router.get('/runs/:runId/rollouts/:rolloutId/image', async (request, response) => {
    const { runId, rolloutId } = parse(rolloutParams, request.params);
    const path = store.getRollout(runId, rolloutId).imagePath ?? missing(runId, `picture of rollout ${rolloutId}`);
    response.type('image/png').send(Buffer.from(await artifacts.get(runId, path)));
  });
  router.get('/runs/:runId/rollouts/:rolloutId/maps', async (request, response) => {
    const { runId, rolloutId } = parse(rolloutParams, request.params);
    const path = store.getRollout(runId, rolloutId).mapsPath ?? missing(runId, `maps of rollout ${rolloutId}`);
    response.type('application/json').send(Buffer.from(await artifacts.get(runId, path)));
  });
}

function reportRoutes(router: Router, { reportHtml, reportJson, writeReport }: RestServices): void {
  router.get(['/runs/:runId/report', '/runs/:runId/report.html'], async (request, response) => {
    const body = await reportHtml(parse(runParams, request.params).runId);
    response.set('content-security-policy', REPORT_POLICY).type('html').send(body);
  });
  router.post('/runs/:runId/report', async (request, response) => {
    response.json({ path: await writeReport(parse(runParams, request.params).runId) });
  });
  router.get('/runs/:runId/report.json', async (request, response) => {
    response.type('application/json').send(await reportJson(parse(runParams, request.params).runId));
  });
}

function missing(runId: string, what: string): never {
  throw new StarError('NOT_FOUND', `run ${runId} kept no ${what}`, { runId });
}
