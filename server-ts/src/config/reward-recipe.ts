import { z } from 'zod';

/** Parts of a recipe's `reward` that say how components become one reward, and when a reward is not to be trusted. */

export const transform = z.strictObject({
  scale: z.number().default(1).describe('factor of the reported value'),
  offset: z.number().default(0).describe('added after the factor'),
  clip: z
    .tuple([z.number(), z.number()])
    .nullable()
    .default(null)
    .describe('smallest and largest result of scale and offset; null: no limit'),
});

export const gate = z.strictObject({
  component: z.string().describe('component whose reported value opens the gate'),
  value: z.string().nullable().default(null).describe('its reported value that is looked at; null: the one it rewards'),
  atLeast: z.number().describe('the gate is open at this value and above'),
  otherwise: z
    .union([z.number(), z.literal('abstain')])
    .default(0)
    .describe('behind a closed gate: this number, in units after the transform; abstain: the component is left out'),
});

export const quorum = z.strictObject({
  share: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe('smallest share of rollouts with a reward, of those whose scorers did not abstain'),
  retries: z.int().min(0).max(20).default(0).describe('times that missing scores are asked for again'),
  pauseMs: z.int().min(0).default(10_000).describe('wait before they are asked for again'),
  action: z
    .enum(['hold', 'stop'])
    .default('stop')
    .describe('below the share the iteration is not trained on. hold: the run is STOPPED; stop: it is FAILED'),
});

const watched = {
  component: z.string().describe('component that is watched'),
  window: z.int().min(1).default(10).describe('iterations that a reading is taken over'),
  action: z
    .enum(['warn', 'hold', 'stop'])
    .default('warn')
    .describe('warn: event; hold: the run is STOPPED with a checkpoint; stop: it is FAILED with a checkpoint'),
};

export const monitor = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('drift'),
    ...watched,
    threshold: z
      .number()
      .positive()
      .describe('most that the mean may be away from that of the first window, in standard deviations of that window'),
  }),
  z.strictObject({
    kind: z.literal('saturation'),
    ...watched,
    threshold: z.number().min(0).lt(1).describe('largest share of groups in which all values are equal'),
  }),
  z.strictObject({
    kind: z.literal('disagreement'),
    ...watched,
    against: z.string().describe('component to compare with'),
    threshold: z.number().gt(-1).max(1).describe('smallest rank correlation of the two inside groups'),
  }),
  z.strictObject({
    kind: z.literal('missing'),
    ...watched,
    threshold: z.number().min(0).lt(1).describe('largest share of rollouts without a value, abstentions left out'),
  }),
]);
