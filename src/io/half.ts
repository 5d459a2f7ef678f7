/** Bits of the float32 that each half stands for. Looking them up takes a fifth of the time of computing them. */
let widened: Uint32Array | undefined;

/** Widens raw IEEE half-precision values to float32; exact, infinities and NaN included. */
export function float16ToFloat32(from: Uint16Array, to: Float32Array): void {
  widened ??= Uint32Array.from({ length: 0x10000 }, (_, half) => widenBits(half));
  const bits = new Uint32Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < from.length; i++) bits[i] = widened[from[i]];
}

function widenBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 0x3ff;
  if (exponent > 0) return sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (mantissa << 13);
  // Zero or subnormal: mantissa · 2⁻²⁴, which float32 holds as a normal number.
  return sign | new Uint32Array(Float32Array.of(mantissa * 2 ** -24).buffer)[0];
}

/** Widens raw bfloat16 values (the upper half of a float32) to float32; exact. */
export function bfloat16ToFloat32(from: Uint16Array, to: Float32Array): void {
  const bits = new Uint32Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < from.length; i++) bits[i] = from[i] << 16;
}

/** Narrows float32 to raw IEEE half-precision values, rounded to the nearest, ties to even; too large becomes infinite. */
export function float32ToFloat16(from: Float32Array, to: Uint16Array): void {
  const bits = new Uint32Array(from.buffer, from.byteOffset, from.length);
  for (let i = 0; i < from.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000;
    const magnitude = bits[i] & 0x7fffffff;
    to[i] = sign | narrowMagnitude(magnitude);
  }
}

/** Bits of a half from those of a float32 without its sign. */
function narrowMagnitude(bits: number): number {
  if (bits > 0x7f800000) return 0x7e00 | ((bits >>> 13) & 0x1ff); // NaN
  if (bits >= 0x477ff000) return 0x7c00;
  const exponent = bits >>> 23;
  // A normal half: exponents count from 15 instead of 127, and 13 bits of the mantissa are rounded away.
  if (exponent > 112) return (bits + 0xfff + ((bits >>> 13) & 1) - 0x38000000) >>> 13;
  if (exponent < 102) return 0;
  // A subnormal one counts multiples of 2⁻²⁴.
  const mantissa = (bits & 0x7fffff) | 0x800000;
  const shift = 126 - exponent;
  const whole = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && whole & 1) ? whole + 1 : whole;
}
