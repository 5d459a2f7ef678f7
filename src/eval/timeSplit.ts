/** What an evaluation spends its time on, beside what is not measured apart. */
export type TimePart = 'towers' | 'waiting for pictures' | 'tokens' | 'search';

/** How the time of an evaluation is divided. Starts when it is made. */
export class TimeSplit {
  readonly #began = performance.now();
  readonly #seconds = new Map<TimePart, number>();

  /** Does a piece of work and counts its time. */
  async measure<T>(part: TimePart, work: () => T | Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await work();
    this.add(part, (performance.now() - began) / 1000);
    return result;
  }

  add(part: TimePart, seconds: number): void {
    this.#seconds.set(part, (this.#seconds.get(part) ?? 0) + seconds);
  }

  /** `time: 12.3 s, of it towers 96.2 %, search 0.4 %`, the largest part first. */
  toString(): string {
    const total = (performance.now() - this.#began) / 1000;
    const parts = [...this.#seconds]
      .sort(([, a], [, b]) => b - a)
      .map(([part, seconds]) => `${part} ${((100 * seconds) / total).toFixed(1)} %`);
    return `time: ${total.toFixed(1)} s, of it ${parts.join(', ')}`;
  }
}
