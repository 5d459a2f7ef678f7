import { meanRecallOf } from './bestMetric.js';
import type { StepMetrics } from './runDirectory.js';
import type { ValidationRecord } from './validation.js';

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

/** The reference's line for a validation, and what it does not tell: recall over the full pool. */
export function validationLine(record: ValidationRecord, location: string, batchSize: number): string[] {
  const { textToImage, imageToText } = record;
  const recall = ({ recallAt1, recallAt5, recallAt10 }: typeof textToImage) =>
    [recallAt1, recallAt5, recallAt10].map((value) => value.toFixed(2)).join(' / ');
  return [
    [
      `Validation Result (epoch ${record.epoch} @ ${record.step} steps)`,
      `Valid Loss: ${record.loss.toFixed(6)}`,
      `Image2Text Acc: ${(record.imageToTextAccuracy * 100).toFixed(2)}`,
      `Text2Image Acc: ${(record.textToImageAccuracy * 100).toFixed(2)}`,
      `logit_scale: ${Math.log(record.logitScale).toFixed(3)}`,
      `Valid Batch Size: ${batchSize}`,
    ].join(' | '),
    `R@1/5/10 over all of ${location}: text → image ${recall(textToImage)}, image → text ${recall(imageToText)}, ` +
      `mean recall ${meanRecallOf(record).toFixed(2)} (${record.seconds.toFixed(1)} s)`,
  ];
}
