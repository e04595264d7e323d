import { Router } from 'express';
import { authorQuery, parse, runParams } from './params.js';
import type { RestServices } from './ports.js';
import { rewardView } from './views.js';
import { yamlBody, yamlText } from './yaml-body.js';

/** Routes of a run's reward: what is in effect and was, staging another one, undoing that. */
export function rewardRoutes({ runs, store }: RestServices): Router {
  const router = Router();
  router.get('/runs/:runId/reward', (request, response) => {
    const { runId } = parse(runParams, request.params);
    response.json(rewardView(runId, store.rewardVersions(runId)));
  });
  router.put('/runs/:runId/reward', yamlText, async (request, response) => {
    const { runId } = parse(runParams, request.params);
    const { author } = parse(authorQuery, request.query);
    const versions = await runs.stageReward(runId, yamlBody(request, "a recipe's reward section"), author);
    response.status(202).json(rewardView(runId, versions));
  });
  router.post('/runs/:runId/reward/rollback', async (request, response) => {
    const { runId } = parse(runParams, request.params);
    const { author } = parse(authorQuery, request.query);
    response.status(202).json(rewardView(runId, await runs.rollBackReward(runId, author)));
  });
  return router;
}
