import { spawn } from 'node:child_process';
import { UserError } from '../errors.js';
import { isFile } from '../io/fileSystem.js';
import type { Precision } from './parity.js';

/** Of what trtexec prints, the end is kept for messages. */
const KEPT_CHARACTERS = 64_000;
const SHOWN_LINES = 5;

/** One engine to build. */
export interface EngineRequest {
  /** the ONNX file */
  graph: string;
  /** where the engine goes */
  engine: string;
  precision: Precision;
  /** the input, and its shapes: 1x3x224x224 */
  input: string;
  shapes: { min: string; opt: string; max: string };
  deviceId?: number;
  workspace?: number;
  timingCache?: string;
  optimizationLevel?: number;
}

/**
 * What trtexec is called with. Types are those of the graph (`--stronglyTyped`), so that fp16 keeps the float32 parts that the
 * export has chosen; and fp32 is float32, not TF32.
 */
export function trtexecArguments(request: EngineRequest): string[] {
  const { graph, engine, precision, input, shapes } = request;
  const { deviceId, workspace, timingCache, optimizationLevel } = request;
  return [
    `--onnx=${graph}`,
    `--saveEngine=${engine}`,
    '--stronglyTyped',
    ...(precision === 'fp32' ? ['--noTF32'] : []),
    `--minShapes=${input}:${shapes.min}`,
    `--optShapes=${input}:${shapes.opt}`,
    `--maxShapes=${input}:${shapes.max}`,
    '--skipInference',
    ...(deviceId === undefined ? [] : [`--device=${deviceId}`]),
    ...(workspace === undefined ? [] : [`--memPoolSize=workspace:${workspace}`]),
    ...(timingCache === undefined ? [] : [`--timingCacheFile=${timingCache}`]),
    ...(optimizationLevel === undefined ? [] : [`--builderOptimizationLevel=${optimizationLevel}`]),
  ];
}

/**
 * Builds an engine, which can take minutes.
 *
 * @throws UserError with what trtexec complains of
 */
export async function buildEngine(trtexec: string, request: EngineRequest): Promise<void> {
  const { output, end } = await run(trtexec, trtexecArguments(request));
  if (end === 'exit code 0' && isFile(request.engine)) return;
  const lines = output.split(/\r?\n/).filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => line.includes('[E]'));
  const shown = errors.length > 0 ? errors.slice(0, SHOWN_LINES) : lines.slice(-SHOWN_LINES);
  const detail = shown.length === 0 ? 'it printed nothing' : shown.join('\n');
  throw new UserError(`${trtexec} built no engine of ${request.graph} (${end}):\n${detail}`);
}

function run(command: string, args: readonly string[]): Promise<{ output: string; end: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-KEPT_CHARACTERS);
      });
    }
    child.on('error', (error) => reject(new UserError(`${command} can't be run: ${error.message}`)));
    child.on('close', (code, signal) => resolve({ output, end: signal ?? `exit code ${code}` }));
  });
}
