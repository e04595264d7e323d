import { StarError } from './errors.js';

/** Rule of the sampling schedule. */
export type ScheduleKind = 'linear' | 'diffusers';

/** Number of training timesteps of the flow models; the lowest noise level of `diffusers` is its reciprocal. */
const TRAIN_TIMESTEPS = 1000;

/**
 * Noise levels of a sampling run: sigma of x_t for every step and, as the last value, that of the picture (0).
 *
 * `diffusers` is `FlowMatchEulerDiscreteScheduler(shift).set_timesteps(T)`, which shifts the lower end twice
 * (flow-grpo-reference 1.1), in float64. `linear` is linspace(1, 1/T, T), shifted once.
 *
 * @param stepCount T >= 1
 * @param shift > 0; sigma -> shift sigma / (1 + (shift - 1) sigma)
 * @returns T + 1 values, strictly decreasing from 1 to 0
 * @throws StarError ARGUMENT_INVALID
 */
export function sampleSigmas(kind: ScheduleKind, stepCount: number, shift: number): number[] {
  if (!Number.isInteger(stepCount) || stepCount < 1 || !(shift > 0) || !Number.isFinite(shift)) {
    throw new StarError(
      'ARGUMENT_INVALID',
      `a schedule needs steps >= 1 and shift > 0, received ${stepCount}, ${shift}`,
    );
  }
  const lowest = kind === 'linear' ? 1 / stepCount : shiftSigma(1 / TRAIN_TIMESTEPS, shift);
  const base = Array.from({ length: stepCount }, (_, step) =>
    stepCount === 1 ? 1 : 1 + (step / (stepCount - 1)) * (lowest - 1),
  );
  return [...base.map((sigma) => shiftSigma(sigma, shift)), 0];
}

/** Time shift of a noise level; 0 and 1 stay. */
export function shiftSigma(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}
