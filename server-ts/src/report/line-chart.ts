import { escapeHtml } from './escape-html.js';

/** One line: points in rising x. */
export interface ChartSeries {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What a chart says around its lines. */
export interface ChartLabels {
  readonly title: string;
  readonly xLabel: string;
  /** Vertical lines: something changed between x - 1 and x. Those outside the points are left out. */
  readonly marks?: readonly ChartMark[];
}

/** A vertical line with its text. */
export interface ChartMark {
  readonly x: number;
  readonly text: string;
}

const WIDTH = 520;
const HEIGHT = 220;
const MARGIN = { left: 56, right: 14, top: 14, bottom: 34 };

interface Scale {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/** Round steps of 1, 2 or 5 times a power of ten that cover [low, high]; about `count` of them. */
export function niceScale(low: number, high: number, count = 4): Scale {
  const padding = Math.max(Math.abs(low) * 0.05, 1e-6);
  const [from, to] = low === high ? [low - padding, high + padding] : [low, high];
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  return { low: first * step, high: last * step, ticks };
}

/** Short text of a tick or value. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

/**
 * A line chart as inline SVG, coloured by the classes `series-0`, `series-1`, ... of the page. Empty text when no series has
 * a finite point.
 */
export function lineChart(series: readonly ChartSeries[], labels: ChartLabels): string {
  const finite = series.map((entry) => ({ ...entry, points: entry.points.filter(([, y]) => Number.isFinite(y)) }));
  const all = finite.flatMap((entry) => entry.points);
  if (all.length === 0) return '';
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const xRange = { low: Math.min(...xs), high: Math.max(...xs) };
  const yScale = niceScale(Math.min(...ys), Math.max(...ys));
  const x = (value: number): number => position(value, xRange, MARGIN.left, WIDTH - MARGIN.right);
  const y = (value: number): number => position(value, yScale, HEIGHT - MARGIN.bottom, MARGIN.top);
  const lines = finite.map((entry, index) => seriesSvg(entry, index, x, y)).join('');
  const marks = (labels.marks ?? [])
    .filter((mark) => mark.x > xRange.low && mark.x <= xRange.high)
    .map(markSvg(x))
    .join('');
  const legend = finite.length > 1 ? legendHtml(finite) : '';
  return `<figure class="chart"><figcaption>${escapeHtml(labels.title)}${legend}</figcaption><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(labels.title)}">${axesSvg(xRange, yScale, y, labels.xLabel)}${marks}${lines}</svg></figure>`;
}

function position(value: number, range: { low: number; high: number }, from: number, to: number): number {
  const share = range.high === range.low ? 0.5 : (value - range.low) / (range.high - range.low);
  return Number((from + share * (to - from)).toFixed(1));
}

function axesSvg(
  xRange: { low: number; high: number },
  yScale: Scale,
  y: (value: number) => number,
  xLabel: string,
): string {
  const right = WIDTH - MARGIN.right;
  const grid = yScale.ticks.map(
    (tick) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${right}" y1="${y(tick)}" y2="${y(tick)}"/><text class="tick" x="${MARGIN.left - 8}" y="${y(tick) + 4}" text-anchor="end">${shortNumber(tick)}</text>`,
  );
  const bottom = HEIGHT - MARGIN.bottom + 18;
  const ends =
    xRange.low === xRange.high
      ? `<text class="tick" x="${(MARGIN.left + right) / 2}" y="${bottom}" text-anchor="middle">${xRange.low}</text>`
      : `<text class="tick" x="${MARGIN.left}" y="${bottom}">${xRange.low}</text><text class="tick" x="${right}" y="${bottom}" text-anchor="end">${xRange.high}</text>`;
  const label = `<text class="tick" x="${(MARGIN.left + right) / 2}" y="${bottom + 12}" text-anchor="middle">${escapeHtml(xLabel)}</text>`;
  return grid.join('') + ends + label;
}

function seriesSvg(
  series: ChartSeries,
  index: number,
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  const path = series.points.map(([px, py]) => `${x(px)},${y(py)}`).join(' ');
  const dots = series.points.map(
    ([px, py]) =>
      `<circle cx="${x(px)}" cy="${y(py)}" r="2.5"><title>${escapeHtml(series.name)}, ${px}: ${shortNumber(py)}</title></circle>`,
  );
  return `<g class="series-${index}"><polyline points="${path}"/>${dots.join('')}</g>`;
}

function markSvg(x: (value: number) => number): (mark: ChartMark) => string {
  return ({ x: at, text }) => {
    const place = x(at - 0.5);
    const line = `<line class="mark" x1="${place}" x2="${place}" y1="${MARGIN.top}" y2="${HEIGHT - MARGIN.bottom}"/>`;
    return `<g>${line}<title>${escapeHtml(text)}</title></g>`;
  };
}

function legendHtml(series: readonly ChartSeries[]): string {
  return series.map(({ name }, index) => `<span class="legend series-${index}">${escapeHtml(name)}</span>`).join('');
}
