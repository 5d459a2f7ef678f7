import { UserError } from '../errors.js';

/** Below this many pictures a rate says little: up to here the limit counts as if they had all been read. */
const ENOUGH_IMAGES = 1000;

/** Which images of a split were read, and which of them are broken, so that training does without those. */
export class BrokenImages {
  /** Of each row: 0 not read yet, 1 whole, 2 broken. */
  readonly #states: Uint8Array;
  #read = 0;
  #broken = 0;
  /** what is wrong with the one found last */
  #last = '';

  /**
   * @param maxRate share of broken pictures, in [0, 1], above which reading ends
   * @param report told of each broken picture once
   */
  constructor(
    imageCount: number,
    private readonly maxRate: number,
    private readonly report: (line: string) => void,
  ) {
    this.#states = new Uint8Array(imageCount);
  }

  /** How many different images were found broken. */
  get count(): number {
    return this.#broken;
  }

  has(row: number): boolean {
    return this.#states[row] === 2;
  }

  /**
   * Notes what came of reading these rows.
   *
   * @param failures what is wrong, by the place in `rows`
   * @throws UserError once more pictures are broken than `maxRate` of those read, or of the first thousand (of all
   * pictures, where there are less)
   */
  note(rows: Int32Array, failures: ReadonlyMap<number, string>): void {
    for (const [place, row] of rows.entries()) {
      if (this.#states[row] !== 0) continue;
      this.#read++;
      const failure = failures.get(place);
      this.#states[row] = failure === undefined ? 1 : 2;
      if (failure === undefined) continue;
      this.#broken++;
      this.#last = failure;
      this.report(`skipped: ${failure}`);
    }
    const enough = Math.min(ENOUGH_IMAGES, this.#states.length);
    if (this.#broken <= this.maxRate * Math.max(this.#read, enough)) return;
    throw new UserError(
      `${this.#broken} of ${this.#read} pictures are broken, more than maxBrokenRate (${this.maxRate}) allows: ` +
        '`cn-clip data validate` lists them; mend the dataset, or raise maxBrokenRate. ' +
        `The last one: ${this.#last}`,
    );
  }
}
