/** The learning rate at each step. */
export interface Schedule {
  /** peak learning rate */
  learningRate: number;
  warmupSteps: number;
  totalSteps: number;
}

/**
 * The reference's schedule at a step counted from 0: linear warm-up to the peak, which is reached at step
 * `warmupSteps − 1`, then half a cosine down to 0 at `totalSteps`, where it stays.
 */
export function learningRateAt({ learningRate, warmupSteps, totalSteps }: Schedule, step: number): number {
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps));
  return 0.5 * (1 + Math.cos(Math.PI * progress)) * learningRate;
}
