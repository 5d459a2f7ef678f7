/** Beyond this many pixels Pillow refuses a picture as a decompression bomb. */
export const MAX_PIXELS = 178_956_970;
/** The most that JPEG and GIF can hold: keeps the rows between the two passes of resizing small. */
const MAX_SIDE = 65_535;

/** @throws Error where a side of the picture has more pixels than are read, whatever its form */
export function requireSides(width: number, height: number): void {
  if (width <= MAX_SIDE && height <= MAX_SIDE) return;
  throw new Error(`${width} × ${height} pixels; at most ${MAX_SIDE} a side are read`);
}
