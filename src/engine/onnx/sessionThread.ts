import { workerData } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import { answerRequests } from '../../io/threadPool.js';
import { type GraphFile, runGraph, type SessionInput } from './sessions.js';

/** What a thread is told as it starts. */
export interface SessionSettings {
  file: GraphFile;
  options: ort.InferenceSession.SessionOptions;
}

const { file, options } = workerData as SessionSettings;
let session: Promise<ort.InferenceSession> | undefined;

answerRequests<SessionInput, Float32Array>(async (input) => {
  session ??= ort.InferenceSession.create(file.path, options);
  return [await runGraph(await session, file, input), []];
});
