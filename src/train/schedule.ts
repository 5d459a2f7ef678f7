/**
 * How the learning rate changes: `cosine` is the reference's; `constant` stays at the peak after the warm-up; `none` is
 * at the peak from the first step, what the reference's --skip-scheduler means.
 */
export const scheduleNames = ['cosine', 'constant', 'none'] as const;

/** The learning rate at each step. */
export interface Schedule {
  /** peak learning rate */
  learningRate: number;
  warmupSteps: number;
  totalSteps: number;
  /** `cosine` by default */
  schedule?: (typeof scheduleNames)[number];
}

/**
 * The learning rate of a step counted from 0: linear warm-up to the peak, which is reached at step `warmupSteps − 1`,
 * then half a cosine down to 0 at `totalSteps`, where it stays; or as the other schedules say.
 */
export function learningRateAt(
  { learningRate, warmupSteps, totalSteps, schedule = 'cosine' }: Schedule,
  step: number,
): number {
  if (schedule === 'none') return learningRate;
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  if (schedule === 'constant') return learningRate;
  const progress = Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps));
  return 0.5 * (1 + Math.cos(Math.PI * progress)) * learningRate;
}
