import type { ModelConfig } from '../src/model/config.js';
import { Random } from '../src/random.js';

/** What one process does and times, ours (ownRuns.ts) or the reference's (pytorch.py): both are given it as JSON. */
export interface Work {
  what: 'training step' | 'image tower' | 'text tower';
  config: ModelConfig;
  batchSize: number;
  /** to which the reference pads its texts; ours are padded to the longest of their batch */
  contextLength: number;
  threads: number;
  /** runs before those that are timed */
  warm: number;
  /** timed runs */
  steps: number;
  /** token ids of each text of each run, not padded; none for the image tower */
  texts: number[][][];
}

/** What a process prints, as one line of JSON. */
export interface Report {
  /** trained values of the model */
  parameters: number;
  threads: number;
  /** of all runs, without padding */
  tokens: number;
  /** of each timed run */
  seconds: number[];
  /** null where the system does not tell */
  peakMegabytes: number | null;
}

/** A piece of work and the name it is shown by. */
export interface Case {
  name: string;
  work: Work;
  /** one sample at a time: shown as seconds */
  isLatency: boolean;
}

export interface CaseOptions {
  batchSize: number;
  trainBatchSize: number;
  contextLength: number;
  threads: number;
  warm: number;
  steps: number;
}

/** Least and most tokens of a text, [CLS] and [SEP] included. */
interface Lengths {
  least: number;
  most: number;
}

const FULL: Lengths = { least: Infinity, most: Infinity };
const REAL_CAPTION: Lengths = { least: 6, most: 20 };
const TEN_CHARACTERS: Lengths = { least: 12, most: 12 };
/** A single sample takes little time: it is repeated as many times more often. */
const LATENCY_REPEATS = 5;

/** Training steps on texts that fill the context, and on texts as captions are. */
export function trainingCases(config: ModelConfig, options: CaseOptions): Case[] {
  const given = { ...options, config, what: 'training step', batchSize: options.trainBatchSize } as const;
  return [
    { name: 'training step, full texts', isLatency: false, work: workOf(given, FULL) },
    { name: 'training step, real captions', isLatency: false, work: workOf(given, REAL_CAPTION) },
  ];
}

/** Each tower on a batch, and on one sample at a time. */
export function inferenceCases(config: ModelConfig, options: CaseOptions): Case[] {
  return (['image tower', 'text tower'] as const).flatMap((what) => {
    const batch = { ...options, config, what };
    const single = { ...batch, batchSize: 1, steps: LATENCY_REPEATS * options.steps };
    const lengths = what === 'text tower' ? TEN_CHARACTERS : undefined;
    return [
      { name: what, isLatency: false, work: workOf(batch, lengths) },
      { name: `${what}, latency`, isLatency: true, work: workOf(single, lengths) },
    ];
  });
}

/** @param lengths of random texts, which the context cuts; without them there are no texts */
function workOf(given: Omit<Work, 'texts'>, lengths: Lengths | undefined): Work {
  const { what, config, batchSize, contextLength, threads, warm, steps } = given;
  const random = new Random(0, 'bench', what);
  const texts: number[][][] = [];
  if (lengths !== undefined) {
    const [least, most] = [lengths.least, lengths.most].map((tokens) => Math.min(tokens, contextLength));
    const text = () =>
      Array.from({ length: least + random.integer(most - least + 1) }, () => {
        return 1 + random.integer(config.vocab_size - 1);
      });
    for (let i = 0; i < warm + steps; i++) texts.push(Array.from({ length: batchSize }, text));
  }
  return { what, config, batchSize, contextLength, threads, warm, steps, texts };
}
