/** How many ticks an axis aims at. */
const TICKS = 5;

/** A linear or logarithmic axis: where a value lies between its ends, as a fraction, and which values it labels. */
export interface Scale {
  place(value: number): number;
  ticks: number[];
}

export type ScaleKind =
  /** From the least to the greatest value. */
  | 'exact'
  /** Widened to whole ticks. */
  | 'rounded'
  /** Over the positive values. */
  | 'logarithmic';

/** A scale over the finite values. One without values spans 0 to 1 (1 to 10 where logarithmic). */
export function makeScale(values: readonly number[], kind: ScaleKind): Scale {
  const logarithmic = kind === 'logarithmic';
  const drawable = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  let low = drawable.length > 0 ? drawable.reduce((a, b) => Math.min(a, b)) : logarithmic ? 1 : 0;
  let high = drawable.length > 0 ? drawable.reduce((a, b) => Math.max(a, b)) : logarithmic ? 10 : 1;
  if (low === high) [low, high] = widen(low, logarithmic);
  if (logarithmic) {
    const span = Math.log(high / low);
    return { place: (value) => Math.log(value / low) / span, ticks: logarithmicTicks(low, high) };
  }
  const step = tickStep(low, high);
  if (kind === 'rounded') {
    low = Math.floor(low / step + 1e-9) * step;
    high = Math.ceil(high / step - 1e-9) * step;
  }
  return { place: (value) => (value - low) / (high - low), ticks: linearTicks(low, high, step) };
}

/** A short number for an axis: 12,000 · 0.25 · 5e-4. */
export function formatTick(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return Number(value.toPrecision(6)).toLocaleString('en-US', { maximumFractionDigits: 6 });
}

function widen(value: number, logarithmic: boolean): [number, number] {
  if (logarithmic) return [value / 2, value * 2];
  const margin = Math.abs(value) / 2 || 1;
  return [value - margin, value + margin];
}

/** The round step (1, 2 or 5 times a power of ten) that gives about TICKS ticks. */
function tickStep(low: number, high: number): number {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough * 0.999) ?? 10);
}

function linearTicks(low: number, high: number, step: number): number[] {
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten; with 2 and 5 between them over a short range; round linear ones where that leaves under three. */
function logarithmicTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const every = Math.max(1, Math.ceil(decades / (TICKS + 1)));
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    if (power % every !== 0) continue;
    for (const factor of decades <= 2 ? [1, 2, 5] : [1]) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks.length >= 3 ? ticks : linearTicks(low, high, tickStep(low, high));
}
