import { type ColorClassifier, isObject, type ObjectView } from './color-classifier.js';

/** A colour that the classifier knows. */
export interface ColorPrototype {
  readonly name: string;
  /** sRGB, 0..255. */
  readonly rgb: readonly [number, number, number];
}

/** CIE L*a*b* (D65). */
type Lab = readonly [number, number, number];

/**
 * Nearest prototype to the median CIE L*a*b* colour of the object (rewards.md 3.5 c). The median, because the rim of an
 * object mixes with its ground. Declared as `lab`: it is not GenEval's CLIP classifier.
 *
 * @param prototypes at least one; the first wins a tie
 */
export function labColorClassifier(prototypes: readonly ColorPrototype[]): ColorClassifier {
  const known = prototypes.map(({ name, rgb }) => ({ name, lab: rgbToLab(...rgb) }));
  return {
    backend: 'lab',
    classify: async (objects) => objects.map((object) => nearest(known, medianLab(object))),
    close: async () => undefined,
  };
}

function nearest(known: readonly { name: string; lab: Lab }[], color: Lab | null): string | null {
  if (color === null) return null;
  let best: { name: string; distance: number } | null = null;
  for (const { name, lab } of known) {
    const distance = Math.hypot(lab[0] - color[0], lab[1] - color[1], lab[2] - color[2]);
    if (best === null || distance < best.distance) best = { name, distance };
  }
  return best?.name ?? null;
}

/** Converts sRGB (whole numbers 0..255) to CIE L*a*b* under D65. */
export function rgbToLab(red: number, green: number, blue: number): Lab {
  const [r = 0, g = 0, b = 0] = [LINEAR[red], LINEAR[green], LINEAR[blue]];
  const x = companded((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = companded(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = companded((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Linear light of the 256 values of a channel: this is asked for every pixel of every object. */
const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const share = value / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
});

function companded(value: number): number {
  return value > (6 / 29) ** 3 ? Math.cbrt(value) : value / (3 * (6 / 29) ** 2) + 4 / 29;
}

/** Median per axis over the object's pixels; null when there are none. */
function medianLab({ image, box, mask }: ObjectView): Lab | null {
  const [left = 0, top = 0, right = 0, bottom = 0] = box.map(Math.round);
  const values: [number[], number[], number[]] = [[], [], []];
  for (let y = Math.max(top, 0); y < Math.min(bottom, image.height); y++) {
    for (let x = Math.max(left, 0); x < Math.min(right, image.width); x++) {
      if (mask !== null && !isObject(mask, (x + 0.5) / image.width, (y + 0.5) / image.height)) continue;
      const at = (y * image.width + x) * 3;
      const lab = rgbToLab(image.data[at] ?? 0, image.data[at + 1] ?? 0, image.data[at + 2] ?? 0);
      for (const axis of [0, 1, 2] as const) values[axis].push(lab[axis]);
    }
  }
  if (values[0].length === 0) return null;
  return [median(values[0]), median(values[1]), median(values[2])];
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
