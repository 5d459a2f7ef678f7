import { join } from 'node:path';
import type { Reporter } from '../io/terminal.js';
import { meanRecallOf } from './bestMetric.js';
import { EventFile } from './eventFile.js';
import { logLine, validationLine } from './logLine.js';
import type { RunDirectory, StepMetrics } from './runDirectory.js';
import type { Stage } from './stage.js';
import type { Progress, ValidationRecord } from './validation.js';

/** Where a run writes what happens in it: metrics.jsonl, validation.jsonl, train.log, TensorBoard's events. */
export class RunLog {
  private readonly events = new Map<string, EventFile>();

  constructor(
    private readonly directory: RunDirectory,
    private readonly logEverySteps: number,
    private readonly reporter: Reporter,
  ) {}

  /** For people who watch, and for those who read the log. */
  readonly note = (line: string): void => {
    this.directory.appendLog(line);
    this.reporter.line(line);
  };

  step({ name, settings }: Stage, metrics: StepMetrics, { step, stepsPerEpoch, totalSteps }: Progress): void {
    this.directory.appendMetrics(metrics);
    const { stage: _stage, step: _step, ...scalars } = metrics;
    this.scalars(name, step, 'training', scalars);
    if (step % this.logEverySteps === 0 || step === totalSteps) {
      this.note(logLine(metrics, { totalSteps, stepsPerEpoch, batchSize: settings.batchSize }));
    }
  }

  validation({ name }: Stage, record: ValidationRecord, location: string, batchSize: number): void {
    this.directory.appendValidation(record);
    const { loss, imageToTextAccuracy, textToImageAccuracy, textToImage, imageToText } = record;
    this.scalars(name, record.step, record.set === 'valid' ? 'validation' : 'other data', {
      loss,
      imageToTextAccuracy,
      textToImageAccuracy,
      meanRecall: meanRecallOf(record),
      textToImageRecallAt1: textToImage.recallAt1,
      textToImageRecallAt5: textToImage.recallAt5,
      textToImageRecallAt10: textToImage.recallAt10,
      imageToTextRecallAt1: imageToText.recallAt1,
      imageToTextRecallAt5: imageToText.recallAt5,
      imageToTextRecallAt10: imageToText.recallAt10,
    });
    for (const line of validationLine(record, location, batchSize)) this.note(line);
  }

  /**
   * TensorBoard groups tags by what stands before the slash. Each stage is a run of its own there, for its steps begin
   * anew.
   */
  private scalars(stage: string, step: number, group: string, values: Record<string, number>): void {
    let file = this.events.get(stage);
    if (file === undefined) {
      file = new EventFile(join(this.directory.events, stage), step);
      this.events.set(stage, file);
    }
    const tagged = Object.entries(values).map(([name, value]) => [`${group}/${name}`, value] as const);
    file.append(step, Object.fromEntries(tagged));
  }
}
