import { Router } from 'express';
import { lastEventId, streamEvents } from './event-stream.js';
import { afterQuery, iterationParams, listQuery, parse, runParams, sinceQuery } from './params.js';
import type { RestServices } from './ports.js';
import { evaluationView, rolloutView, runView } from './views.js';
import { yamlBody, yamlText } from './yaml-body.js';

/** Routes of runs: life cycle, series, evaluations, live events. */
export function runRoutes(services: RestServices): Router {
  const router = Router();
  lifeCycleRoutes(router, services);
  seriesRoutes(router, services);
  return router;
}

function lifeCycleRoutes(router: Router, { runs, store }: RestServices): void {
  router.post('/runs', yamlText, async (request, response) => {
    const run = await runs.create(yamlBody(request, 'a recipe'));
    response.status(201).location(`/v1/runs/${run.runId}`).json(runView(run));
  });
  router.get('/runs', (request, response) => {
    const { limit } = parse(listQuery, request.query);
    response.json({ runs: store.listRuns(limit).map(runView) });
  });
  router.get('/runs/:runId', (request, response) => {
    response.json(runView(store.getRun(parse(runParams, request.params).runId)));
  });
  router.post('/runs/:runId/stop', async (request, response) => {
    response.status(202).json(runView(await runs.stop(parse(runParams, request.params).runId)));
  });
  router.post('/runs/:runId/resume', async (request, response) => {
    response.status(202).json(runView(await runs.resume(parse(runParams, request.params).runId)));
  });
}

function seriesRoutes(router: Router, { store, events }: RestServices): void {
  router.get('/runs/:runId/metrics', (request, response) => {
    const { runId } = parse(runParams, request.params);
    const { since } = parse(sinceQuery, request.query);
    response.json({ runId, metrics: store.metrics(runId, since), seconds: store.timings(runId) });
  });
  router.get('/runs/:runId/iterations/:iteration/rollouts', (request, response) => {
    const { runId, iteration } = parse(iterationParams, request.params);
    response.json({ runId, iteration, rollouts: store.rollouts(runId, iteration).map((r) => rolloutView(runId, r)) });
  });
  router.get('/runs/:runId/evaluations', (request, response) => {
    const { runId } = parse(runParams, request.params);
    response.json({ runId, evaluations: store.evaluations(runId).map(evaluationView) });
  });
  router.get('/runs/:runId/events', (request, response) => {
    const { runId } = parse(runParams, request.params);
    const { after } = parse(afterQuery, request.query);
    store.getRun(runId);
    streamEvents(request, response, events, { runId, afterId: lastEventId(request, after) });
  });
}
