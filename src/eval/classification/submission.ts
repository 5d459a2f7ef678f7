import { createReadStream } from 'node:fs';
import { writeZipFile } from '../../io/zipFile.js';

/** Name of the member of all_predictions.zip. */
export const submissionMember = 'all_predictions.json';

/**
 * Writes all_predictions.zip as ELEVATER's evaluation server takes it: one all_predictions.json, `{"data": […]}`, with
 * the content of each prediction file. The files are streamed: memory doesn't grow with them.
 */
export function writeSubmission(path: string, predictionFiles: readonly string[]): Promise<void> {
  return writeZipFile(path, submissionMember, submission(predictionFiles));
}

async function* submission(files: readonly string[]): AsyncGenerator<Uint8Array> {
  yield Buffer.from('{"data":[');
  for (const [i, file] of files.entries()) {
    if (i > 0) yield Buffer.from(',');
    yield* createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
  }
  yield Buffer.from(']}');
}
