/** What Pillow goes by in a GIF file, and the decoder can't tell. */
export interface GifPalette {
  /** Offset of the byte whose lowest bit makes a colour of the first frame transparent; undefined without such. */
  transparencyFlag: number | undefined;
  /** Whether each entry of the first frame's palette is the grey of its number: to Pillow that is no palette. */
  isGrey: boolean;
}

/** Reads the blocks before the first frame. What is damaged is left to the decoder to complain about. */
export function inspectGif(bytes: Uint8Array): GifPalette {
  let palette = tableAt(bytes, 10, 13);
  let at = 13 + palette.length;
  let transparencyFlag: number | undefined;
  // An extension: introducer, label, then sub-blocks of a length each, the last of length 0.
  while (bytes[at] === 0x21) {
    if (bytes[at + 1] === 0xf9 && (bytes[at + 3] & 1) === 1) transparencyFlag = at + 3;
    for (at += 2; bytes[at] > 0; ) at += bytes[at] + 1;
    at++;
  }
  if (bytes[at] === 0x2c) {
    const local = tableAt(bytes, at + 9, at + 10);
    if (local.length > 0) palette = local;
  }
  return { transparencyFlag, isGrey: palette.every((value, i) => value === Math.floor(i / 3)) };
}

/** The colour table at `start`, if the byte at `flags` says that there is one. */
function tableAt(bytes: Uint8Array, flags: number, start: number): Uint8Array {
  const length = (bytes[flags] & 0x80) === 0 ? 0 : 3 * 2 ** ((bytes[flags] & 7) + 1);
  return bytes.subarray(start, start + length);
}
