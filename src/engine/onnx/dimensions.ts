import type { Signature } from '../engine.js';

/** A shape entry as a product: `coefficient` times each symbol as often as it is listed. */
export interface SymbolicSize {
  coefficient: number;
  symbols: string[];
}

/**
 * Stand-ins for symbolic dimensions. Shapes in TensorFlow.js are numbers, so a function is recorded with a prime in
 * the place of each symbol; a shape entry divisible by the prime is that symbol. The primes divide no fixed
 * dimension of the signature, and a second recording with other primes proves that none slipped into a constant.
 */
export class Dimensions {
  private constructor(private readonly primes: ReadonlyMap<string, number>) {}

  /** Chooses stand-ins; `recording` 0 and 1 give different primes for every symbol. */
  static choose(signature: Signature, recording: 0 | 1): Dimensions {
    const fixed = new Set<number>();
    const symbols = new Set<string>();
    for (const { shape } of Object.values(signature.inputs)) {
      for (const length of shape) typeof length === 'string' ? symbols.add(length) : fixed.add(length);
    }
    const taken = new Set<number>();
    const primes = new Map<string, number>();
    for (const symbol of symbols) {
      const limit = signature.limits?.[symbol];
      const chosen: number[] = [];
      // Below a limit count down; without one start high, where fixed dimensions are rarely multiples.
      for (let candidate = limit ?? 10_007; chosen.length < 2; candidate += limit === undefined ? 1 : -1) {
        if (candidate < 3) throw new Error(`no stand-in for dimension '${symbol}' below ${limit}`);
        if (taken.has(candidate) || !isPrime(candidate)) continue;
        if ([...fixed].some((length) => length > 0 && length % candidate === 0)) continue;
        chosen.push(candidate);
        taken.add(candidate);
      }
      primes.set(symbol, chosen[recording]);
    }
    return new Dimensions(primes);
  }

  /** The numbers that stand for a shape during recording. */
  standIn(shape: readonly (number | string)[]): number[] {
    return shape.map((length) => (typeof length === 'string' ? this.primes.get(length)! : length));
  }

  /** Reads a shape entry back as a product of symbols. */
  express(size: number): SymbolicSize {
    const symbols: string[] = [];
    let coefficient = size;
    for (const [symbol, prime] of this.primes) {
      while (coefficient !== 0 && coefficient % prime === 0) {
        coefficient /= prime;
        symbols.push(symbol);
      }
    }
    return { coefficient, symbols };
  }

  isFixed(size: number): boolean {
    return this.express(size).symbols.length === 0;
  }
}

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return n > 1;
}
