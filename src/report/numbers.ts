/** A percentage with one decimal, more below 1 so that a small chance does not show as zero. */
export function percent(value: number): string {
  return value === 0 || value >= 1 ? value.toFixed(1) : Number(value.toPrecision(2)).toString();
}

/** How many times as good as chance: ×86, ×4.2. */
export function factor(value: number, chance: number): string {
  if (chance === 0) return '–';
  const times = value / chance;
  return `×${times >= 10 ? grouped(Math.round(times)) : times.toFixed(1)}`;
}

/** A count with its thousands apart. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
