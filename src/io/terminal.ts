import { MultiBar, type SingleBar } from 'cli-progress';

/** Where a command shows itself: progress for people, lines for logs. */
export interface Reporter {
  readonly line: (text: string) => void;
  /** Starts a bar of `total` units, of which `done` are done already. */
  begin(title: string, total: number, done?: number): void;
  advance(done: number): void;
  end(): void;
}

/** A callback for work that tells its total with every step; the bar begins at the first. */
export function progress(reporter: Reporter, title: string): (done: number, total: number) => void {
  let began = false;
  return (done, total) => {
    if (!began) reporter.begin(title, total);
    began = true;
    reporter.advance(done);
  };
}

/** Ends bars that an error left open: their timer would keep the process alive. */
export function closeBars(): void {
  for (const bars of openBars) bars.stop();
  openBars.clear();
}

const openBars = new Set<MultiBar>();

/** A bar with rate and remaining time where standard error is a terminal, and plain lines elsewhere. */
export function createReporter(): Reporter {
  return process.stderr.isTTY ? new BarReporter() : new LineReporter();
}

class BarReporter implements Reporter {
  private bars: MultiBar | undefined;
  private bar: SingleBar | undefined;
  private began = 0;
  private doneBefore = 0;

  readonly line = (text: string): void => {
    if (this.bars === undefined) process.stdout.write(`${text}\n`);
    else this.bars.log(`${text}\n`);
  };

  begin(title: string, total: number, done = 0): void {
    this.bars = new MultiBar({
      format: `${title} [{bar}] {percentage}% | {value}/{total} | {rate}/s | {eta_formatted} left`,
      // Nothing to restore, so that a signal can end the process as usual.
      hideCursor: false,
      gracefulExit: false,
      etaBuffer: 50,
    });
    openBars.add(this.bars);
    this.bar = this.bars.create(total, done, { rate: '–' });
    this.began = performance.now();
    this.doneBefore = done;
  }

  advance(done: number): void {
    const seconds = (performance.now() - this.began) / 1000;
    this.bar?.update(done, { rate: ((done - this.doneBefore) / seconds).toFixed(1) });
  }

  end(): void {
    if (this.bars !== undefined) {
      this.bars.stop();
      openBars.delete(this.bars);
    }
    this.bars = undefined;
    this.bar = undefined;
  }
}

/** Seconds without a line after which progress is told. */
const QUIET_SECONDS = 10;

class LineReporter implements Reporter {
  private title = '';
  private total = 0;
  private lastLine = 0;

  readonly line = (text: string): void => {
    this.lastLine = performance.now();
    process.stdout.write(`${text}\n`);
  };

  begin(title: string, total: number, done = 0): void {
    this.title = title;
    this.total = total;
    this.line(`${title}: ${done}/${total}`);
  }

  advance(done: number): void {
    if (performance.now() - this.lastLine > QUIET_SECONDS * 1000)
      this.line(`${this.title}: ${done}/${this.total}`);
  }

  end(): void {}
}

/**
 * Lets Ctrl-C and SIGTERM end a command in order: the returned function says whether one came. A second one ends the
 * process at once.
 *
 * @param doing what is done until then
 */
export function stopOnSignal(reporter: Reporter, doing = 'saving a checkpoint'): () => boolean {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stopping = true;
      process.exitCode = signal === 'SIGINT' ? 130 : 143;
      reporter.line(`${signal}: ${doing}; once more to stop at once`);
    });
  }
  return () => stopping;
}
