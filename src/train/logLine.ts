import type { StepMetrics } from './runDirectory.js';

/** The reference's log line for one step (logit_scale is the parameter itself, as there). */
export function logLine(
  metrics: StepMetrics,
  { totalSteps, stepsPerEpoch, batchSize }: { totalSteps: number; stepsPerEpoch: number; batchSize: number },
): string {
  const inEpoch = ((metrics.step - 1) % stepsPerEpoch) + 1;
  return [
    `Global Steps: ${metrics.step}/${totalSteps}`,
    `Train Epoch: ${metrics.epoch} [${inEpoch * batchSize}/${stepsPerEpoch * batchSize} (${Math.round((100 * inEpoch) / stepsPerEpoch)}%)]`,
    `Loss: ${metrics.loss.toFixed(6)}`,
    `Image2Text Acc: ${(metrics.imageToTextAccuracy * 100).toFixed(2)}`,
    `Text2Image Acc: ${(metrics.textToImageAccuracy * 100).toFixed(2)}`,
    `Data Time: ${metrics.dataTime.toFixed(3)}s`,
    `Batch Time: ${metrics.batchTime.toFixed(3)}s`,
    `LR: ${metrics.learningRate.toFixed(6)}`,
    `logit_scale: ${Math.log(metrics.logitScale).toFixed(3)}`,
    `Global Batch Size: ${batchSize}`,
  ].join(' | ');
}
