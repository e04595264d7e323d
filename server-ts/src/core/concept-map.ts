/** Reads captured attention of one concept into a map of mean 1 (method.md 6). Holds its scratch, so one instance per caller. */
export class ConceptMapReader {
  private readonly rowKernel: BandedKernel;
  private readonly columnKernel: BandedKernel;
  private readonly smoothed: Float64Array;
  private readonly passed: Float64Array;
  private readonly scratch: Float64Array;

  /**
   * @param rows h >= 1
   * @param columns w >= 1
   * @param smoothing Gaussian sigma in image tokens; 0: none
   */
  constructor(
    private readonly rows: number,
    private readonly columns: number,
    private readonly smoothing: number,
  ) {
    this.rowKernel = bandedKernel(rows, smoothing);
    this.columnKernel = bandedKernel(columns, smoothing);
    this.smoothed = new Float64Array(rows * columns);
    this.passed = new Float64Array(rows * columns);
    this.scratch = new Float64Array(rows * columns);
  }

  /**
   * Smooths the plane (edge-normalised), clips it to its 5th and 99th percentile, rescales to [0, 1] and divides by the mean.
   *
   * @param attention holds the plane [h, w] from `offset` on
   * @param target receives weight x map, added
   * @returns `ok`, or why the plane says nothing; then nothing was added
   */
  addTo(target: Float64Array, attention: Float32Array, offset: number, weight: number): ConceptMapOutcome {
    if (!this.load(attention, offset)) return 'not_finite';
    if (this.smoothing > 0) this.smooth();
    this.scratch.set(this.smoothed);
    const low = this.percentile(0.05);
    const high = this.percentile(0.99);
    if (!(high - low > FLAT_RANGE * Math.max(Math.abs(high), Math.abs(low)))) return 'flat';
    const mean = this.rescale(low, high);
    if (mean < SMALLEST_MEAN) return 'no_mass';
    const { smoothed } = this;
    const factor = weight / mean;
    for (let index = 0; index < smoothed.length; index += 1) {
      target[index] = (target[index] as number) + factor * (smoothed[index] as number);
    }
    return 'ok';
  }

  private load(attention: Float32Array, offset: number): boolean {
    const { smoothed } = this;
    let sum = 0;
    for (let index = 0; index < smoothed.length; index += 1) {
      const value = attention[offset + index] as number;
      smoothed[index] = value;
      sum += value;
    }
    return Number.isFinite(sum);
  }

  /** Rows first, then columns; a kernel row sums to 1 over the positions that exist. */
  private smooth(): void {
    const { rows, columns, smoothed, passed } = this;
    smoothAxis(smoothed, passed, this.columnKernel, rows, columns, 1);
    smoothAxis(passed, smoothed, this.rowKernel, columns, 1, columns);
  }

  /** Linear interpolation between order statistics, as numpy's default. Selection is several times faster than sorting. */
  private percentile(share: number): number {
    const { scratch } = this;
    const place = share * (scratch.length - 1);
    const below = Math.floor(place);
    const a = select(scratch, below);
    if (below === place) return a;
    let b = Number.POSITIVE_INFINITY;
    for (let index = below + 1; index < scratch.length; index += 1) b = Math.min(b, scratch[index] as number);
    return a + (b - a) * (place - below);
  }

  /** @returns the mean after rescaling to [0, 1] */
  private rescale(low: number, high: number): number {
    const { smoothed } = this;
    const range = high - low;
    let sum = 0;
    for (let index = 0; index < smoothed.length; index += 1) {
      const value = (Math.min(Math.max(smoothed[index] as number, low), high) - low) / range;
      smoothed[index] = value;
      sum += value;
    }
    return sum / smoothed.length;
  }
}

/** Whether a plane could be read. `no_mass`: mean after the clip below 1e-4. */
export type ConceptMapOutcome = 'ok' | 'not_finite' | 'flat' | 'no_mass';

/** A smaller spread, relative to the values, is rounding (float16 and uint8 coding on the wire included). */
const FLAT_RANGE = 1e-6;
/** method.md 11. */
const SMALLEST_MEAN = 1e-4;
/** Gaussian kernels end at this many sigmas. */
const KERNEL_SIGMAS = 3;

/** Puts the k-th smallest value at place k, smaller ones before and larger ones after it (Hoare's selection). */
function select(values: Float64Array, k: number): number {
  let first = 0;
  let last = values.length - 1;
  while (first < last) {
    const pivot = values[(first + last) >> 1] as number;
    let left = first;
    let right = last;
    while (left <= right) {
      while ((values[left] as number) < pivot) left += 1;
      while ((values[right] as number) > pivot) right -= 1;
      if (left > right) break;
      const moved = values[left] as number;
      values[left] = values[right] as number;
      values[right] = moved;
      left += 1;
      right -= 1;
    }
    if (k <= right) last = right;
    else if (k >= left) first = left;
    else break;
  }
  return values[k] as number;
}

/** Row-normalised Gaussian: weights of row i are `weights[i * width + k]` for positions i - radius + k. */
interface BandedKernel {
  readonly radius: number;
  readonly width: number;
  readonly weights: Float64Array;
}

function bandedKernel(length: number, sigma: number): BandedKernel {
  const radius = Math.ceil(KERNEL_SIGMAS * sigma);
  const width = 2 * radius + 1;
  const weights = new Float64Array(length * width);
  for (let row = 0; row < length; row += 1) {
    let sum = 0;
    for (let k = 0; k < width; k += 1) {
      const position = row - radius + k;
      if (position < 0 || position >= length) continue;
      const weight = sigma > 0 ? Math.exp(-((k - radius) ** 2) / (2 * sigma * sigma)) : 1;
      weights[row * width + k] = weight;
      sum += weight;
    }
    for (let k = 0; k < width; k += 1) weights[row * width + k] = (weights[row * width + k] as number) / sum;
  }
  return { radius, width, weights };
}

/** Smooths along the axis with `stride`; `lines` lines whose starts are `length` apart for stride 1, else 1 apart. */
function smoothAxis(
  source: Float64Array,
  target: Float64Array,
  kernel: BandedKernel,
  lines: number,
  lineStep: number,
  stride: number,
): void {
  const { radius, width, weights } = kernel;
  const length = weights.length / width;
  for (let position = 0; position < length; position += 1) {
    const first = Math.max(0, radius - position);
    const last = Math.min(width, length + radius - position);
    for (let line = 0; line < lines; line += 1) {
      const start = line * lineStep;
      let sum = 0;
      let index = start + (position - radius + first) * stride;
      for (let k = first; k < last; k += 1) {
        sum += (weights[position * width + k] as number) * (source[index] as number);
        index += stride;
      }
      target[start + position * stride] = sum;
    }
  }
}
