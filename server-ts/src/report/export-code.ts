import type { Recipe } from '../config/recipe.js';
import type { ExportOutcome } from '../core/types.js';

/** The linear schedule before its shift: 1, ..., 1 / steps. */
const unshifted = (steps: number): string =>
  Array.from({ length: steps }, (_, index) => (steps - index) / steps).join(', ');

/** JSON strings are Python string literals, too. */
const literal = (text: string): string => JSON.stringify(text);

/**
 * Lines of Python that load an export into diffusers and draw a picture. They need nothing of this project.
 *
 * @param options.modelPath folder or hub id of the base model
 * @param options.prompt prompt of the picture
 */
export function exportCode(
  outcome: ExportOutcome,
  recipe: Recipe,
  options: { readonly modelPath: string; readonly prompt: string },
): string {
  const { model, evaluation, sampling } = recipe;
  const half = model.precision === 'float32' ? '' : `, torch_dtype=torch.${model.precision}`;
  const load =
    model.lora === null
      ? [
          `transformer = SD3Transformer2DModel.from_pretrained(${literal(outcome.path)}${half})`,
          `pipe = StableDiffusion3Pipeline.from_pretrained(${literal(options.modelPath)}, transformer=transformer${half})`,
        ]
      : [
          `pipe = StableDiffusion3Pipeline.from_pretrained(${literal(options.modelPath)}${half})`,
          `pipe.load_lora_weights(${literal(outcome.path)})`,
        ];
  return [
    ...(half === '' ? [] : ['import torch']),
    `from diffusers import ${model.lora === null ? 'SD3Transformer2DModel, ' : ''}StableDiffusion3Pipeline`,
    '',
    ...load,
    'image = pipe(',
    `    ${literal(options.prompt)},`,
    `    height=${model.height},`,
    `    width=${model.width},`,
    `    num_inference_steps=${evaluation.numInferenceSteps},`,
    // The pipeline's own schedule spends its last step near sigma 0; the pipeline shifts what is given here.
    ...(sampling.schedule === 'linear' ? [`    sigmas=[${unshifted(evaluation.numInferenceSteps)}],`] : []),
    `    guidance_scale=${sampling.guidanceScale.toFixed(1)},`,
    `    max_sequence_length=${model.maxSequenceLength},`,
    ').images[0]',
    'image.save("picture.png")',
    '',
  ].join('\n');
}
