import { type Html, html } from './html.js';
import { formatTick, makeScale } from './scale.js';

export interface Point {
  x: number;
  y: number;
}

export interface LineChart {
  title: string;
  xLabel: string;
  /** At most four; drawn in different colours and dashes. A value that can't be drawn (NaN, say) leaves a gap. */
  series: readonly { name: string; points: readonly Point[] }[];
  /** Logarithmic y axis: values that are not positive leave gaps. */
  logScale?: boolean;
  /** Vertical marks where a stage begins. */
  boundaries?: readonly { x: number; label: string }[];
}

/** The drawing area in SVG units. At this width 12-unit text stays readable on a phone. */
const WIDTH = 420;
const HEIGHT = 250;
const LEFT = 50;
const RIGHT = WIDTH - 20;
const TOP = 18;
const BOTTOM = HEIGHT - 38;

/** A line chart as a figure with an inline SVG: title, legend (from two series on), axes, ticks, stage marks. */
export function lineChart(chart: LineChart): Html {
  const { title, xLabel, series, logScale = false, boundaries = [] } = chart;
  if (series.length > 4) throw new RangeError(`lineChart draws at most four series, got ${series.length}`);
  const points = series.flatMap((line) => line.points);
  const drawable = (y: number) => Number.isFinite(y) && (!logScale || y > 0);
  const xScale = makeScale(
    [...points, ...boundaries].map(({ x }) => x),
    'exact',
  );
  const yScale = makeScale(
    points.map((point) => point.y),
    logScale ? 'logarithmic' : 'rounded',
  );
  const xAt = (x: number) => round(LEFT + xScale.place(x) * (RIGHT - LEFT));
  const yAt = (y: number) => round(BOTTOM - yScale.place(y) * (BOTTOM - TOP));

  const horizontal = yScale.ticks.map(
    (tick) => html`<line class="grid-line" x1="${LEFT}" x2="${RIGHT}" y1="${yAt(tick)}" y2="${yAt(tick)}"/>
<text x="${LEFT - 6}" y="${yAt(tick) + 4}" text-anchor="end">${formatTick(tick)}</text>
`,
  );
  const vertical = xScale.ticks.map(
    (tick) => html`<line class="axis" x1="${xAt(tick)}" x2="${xAt(tick)}" y1="${BOTTOM}" y2="${BOTTOM + 4}"/>
<text x="${xAt(tick)}" y="${BOTTOM + 17}" text-anchor="middle">${formatTick(tick)}</text>
`,
  );
  const marks = boundaries.map(
    ({ x, label }) => html`<line class="boundary" x1="${xAt(x)}" x2="${xAt(x)}" y1="${TOP}" y2="${BOTTOM}"/>
<text x="${xAt(x)}" y="${TOP - 6}" text-anchor="${xScale.place(x) < 0.7 ? 'start' : 'end'}">${label}</text>
`,
  );
  const lines = series.map(({ points: all }, i) =>
    unbroken(all, drawable).map((run) =>
      run.length === 1
        ? html`<circle class="series-${i}" cx="${xAt(run[0].x)}" cy="${yAt(run[0].y)}" r="2.5"/>\n`
        : html`<polyline class="line series-${i}" points="${run.map(({ x, y }) => `${xAt(x)},${yAt(y)}`).join(' ')}"/>\n`,
    ),
  );
  const empty = points.some(({ y }) => drawable(y))
    ? html``
    : html`<text x="${(LEFT + RIGHT) / 2}" y="${(TOP + BOTTOM) / 2}" text-anchor="middle">no data</text>`;
  return html`<figure class="chart card">
<figcaption>${title}${logScale ? html` <small>logarithmic scale</small>` : ''}</figcaption>
${series.length > 1 ? legend(series.map((line) => line.name)) : ''}<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${describe(chart, drawable)}">
${horizontal}${vertical}<line class="axis" x1="${LEFT}" x2="${RIGHT}" y1="${BOTTOM}" y2="${BOTTOM}"/>
<text x="${(LEFT + RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">${xLabel}</text>
${marks}${lines}${empty}</svg>
</figure>`;
}

/**
 * At most `limit` points: runs of equal length are replaced by their mean. A run with a value that is not finite
 * stays so and shows as a gap.
 */
export function averaged(points: readonly Point[], limit: number): Point[] {
  const size = Math.ceil(points.length / limit);
  if (size <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const run = points.slice(i * size, (i + 1) * size);
    const mean = (pick: (point: Point) => number) =>
      run.reduce((sum, point) => sum + pick(point), 0) / run.length;
    return { x: mean((point) => point.x), y: mean((point) => point.y) };
  });
}

/** The stretches of points between gaps. */
function unbroken(points: readonly Point[], drawable: (y: number) => boolean): Point[][] {
  const runs: Point[][] = [];
  let open = false;
  for (const point of points) {
    const draw = drawable(point.y);
    if (draw && open) runs[runs.length - 1].push(point);
    else if (draw) runs.push([point]);
    open = draw;
  }
  return runs;
}

function legend(names: readonly string[]): Html {
  const items = names.map(
    (name, i) =>
      html`<li><svg viewBox="0 0 28 10" aria-hidden="true"><line class="line series-${i}" x1="1" x2="27" y1="5" y2="5"/></svg>${name}</li>`,
  );
  return html`<ul class="legend">${items}</ul>\n`;
}

/** What someone who can't see the chart is told: where each line starts and ends. */
function describe(chart: LineChart, drawable: (y: number) => boolean): string {
  const ranges = chart.series.map(({ name, points }) => {
    const drawn = points.filter(({ y }) => drawable(y));
    if (drawn.length === 0) return `${name}: no data`;
    return `${name} from ${formatTick(drawn[0].y)} to ${formatTick(drawn[drawn.length - 1].y)}`;
  });
  return `${chart.title} over ${chart.xLabel}. ${ranges.join('; ')}`;
}

function round(coordinate: number): number {
  return Math.round(coordinate * 10) / 10;
}
