import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { packageRoot } from '../../io/packageRoot.js';
import { metricNames } from './metrics.js';

export const evalConfigs = join(packageRoot, 'configs', 'eval');

const benchmarkSchema = z.strictObject({
  metric: z.enum(metricNames),
  classes: z.int().positive(),
  /** test pictures */
  images: z.int().positive(),
  /** which of configs/eval/prompts.yaml */
  prompts: z.string(),
  /** whether it belongs to a submission to ELEVATER */
  submitted: z.boolean().default(true),
});

export type Benchmark = z.infer<typeof benchmarkSchema>;

/** What is known of each dataset by its name: configs/eval/elevater.yaml. */
export const benchmarks: ReadonlyMap<string, Benchmark> = new Map(
  Object.entries(
    z
      .record(z.string(), benchmarkSchema)
      .parse(parse(readFileSync(join(evalConfigs, 'elevater.yaml'), 'utf8'))),
  ),
);

/** The twenty datasets of a submission to ELEVATER, by name. */
export const elevaterNames: readonly string[] = [...benchmarks]
  .filter(([, { submitted }]) => submitted)
  .map(([name]) => name);
