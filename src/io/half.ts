/** Widens raw IEEE half-precision values to float32; exact, infinities and NaN included. */
export function float16ToFloat32(from: Uint16Array, to: Float32Array): void {
  const bits = new Uint32Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < from.length; i++) {
    const sign = (from[i] & 0x8000) << 16;
    const exponent = (from[i] >> 10) & 31;
    const mantissa = from[i] & 0x3ff;
    if (exponent === 0) {
      // Zero or subnormal: mantissa · 2⁻²⁴, which float32 holds as a normal number.
      to[i] = mantissa * 2 ** -24;
      bits[i] |= sign;
    } else {
      bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (mantissa << 13);
    }
  }
}

/** Widens raw bfloat16 values (the upper half of a float32) to float32; exact. */
export function bfloat16ToFloat32(from: Uint16Array, to: Float32Array): void {
  const bits = new Uint32Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < from.length; i++) bits[i] = from[i] << 16;
}
