import type { RgbImage } from '../image/rgb-image.js';

/** Embeds pictures and texts into one space. */
export interface ClipModel {
  /** @returns per picture, in order, its embedding float32 [D] of length 1; non-finite where the graph gave no direction */
  embedImages(images: readonly RgbImage[]): Promise<Float32Array[]>;
  /**
   * Embeddings of the latest texts are kept.
   *
   * @returns per text, in order, its embedding float32 [D] of length 1
   * @throws StarError SCORER_NOT_LOADABLE when the model has no text tower
   */
  embedTexts(texts: readonly string[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}
