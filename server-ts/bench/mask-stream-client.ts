import { ScriptedWorker } from '../test/scripted-worker.js';

/** Reads the loss masks of one update task per measurement and reports bytes and seconds on standard output. */
const worker = new ScriptedWorker(Number(process.argv[2]));
await worker.next('welcome');
await worker.prepare();
for (;;) {
  const offer = await worker.next('offer');
  const { taskId, leaseToken } = offer;
  let bytes = 0;
  let start = 0;
  for await (const { chunk } of worker.client.fetchLossMasks({ taskId, leaseToken })) {
    if (start === 0) start = performance.now();
    else for (const mask of chunk.masks) bytes += mask.allocationMaps.data.byteLength;
  }
  process.stdout.write(`${JSON.stringify({ bytes, seconds: (performance.now() - start) / 1000 })}\n`);
  const value = { metrics: undefined, checkpointWritten: false, checkpointPath: '' };
  worker.complete(offer, Number(offer.policyVersion) + 1, { $case: 'update', value });
}
