/** The cubic convolution coefficient that torch.nn.functional.interpolate uses. */
const A = -0.75;

/** Whether a table of positions is a class row and a square grid. */
export function isSquareGrid(rows: number): boolean {
  return rows > 1 && Number.isInteger(Math.sqrt(rows - 1));
}

/**
 * Resizes a ViT's positional embedding to another grid, as the reference does on loading: the class row is kept, the
 * grid interpolated bicubically with aligned corners.
 *
 * @param table float32 [1 + from², width]
 * @param rows of the result, 1 + to²
 * @returns float32 [1 + to², width]
 */
export function resizePositionalEmbedding(table: Float32Array, width: number, rows: number): Float32Array {
  const from = Math.sqrt(table.length / width - 1);
  const to = Math.sqrt(rows - 1);
  const taps = Array.from({ length: to }, (_, i) =>
    cubicTaps(to > 1 ? (i * (from - 1)) / (to - 1) : 0, from),
  );
  const resized = new Float32Array(rows * width);
  resized.set(table.subarray(0, width));
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      const target = (1 + y * to + x) * width;
      for (const [row, rowWeight] of taps[y]) {
        for (const [column, columnWeight] of taps[x]) {
          const source = (1 + row * from + column) * width;
          const weight = rowWeight * columnWeight;
          for (let i = 0; i < width; i++) resized[target + i] += weight * table[source + i];
        }
      }
    }
  }
  return resized;
}

/** The four neighbours of a position on a line of `length` points, with their weights; the ends are repeated. */
function cubicTaps(position: number, length: number): [number, number][] {
  const first = Math.floor(position);
  return [-1, 0, 1, 2].map((step) => {
    const index = Math.min(Math.max(first + step, 0), length - 1);
    return [index, cubic(Math.abs(position - first - step))];
  });
}

function cubic(distance: number): number {
  const d = distance;
  if (d <= 1) return ((A + 2) * d - (A + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * A : 0;
}
