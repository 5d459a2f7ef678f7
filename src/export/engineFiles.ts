import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { explainIssues } from '../config/explain.js';
import { nodeMessage, onnxSchema, valueInfo } from '../engine/onnx/protobuf.js';
import { UserError } from '../errors.js';
import { readJson } from '../io/json.js';
import { leastIrVersions } from './encode.js';
import type { EngineShapes } from './engineBatches.js';
import { type ExportedFiles, listedFileSchema, requireUnchanged } from './exportedFiles.js';
import { elementTypeNumbers, type Port } from './onnxModel.js';
import type { Precision } from './parity.js';
import { towerParts } from './parts.js';

/** The engine that is built from a graph, under the reference's name: clip.img.fp16.trt. */
export function engineName(graph: string): string {
  return graph.replace(/\.onnx$/, '.trt');
}

/** The graph whose one node is that engine: clip.img.fp16.trt.onnx. */
export function wrapperName(graph: string): string {
  return `${engineName(graph)}.onnx`;
}

/** What says which engines are there, and what they were built from; it is written last. */
export function engineManifest(prefix: string, precision: Precision): string {
  return `${prefix}.${precision}.tensorrt.json`;
}

const size = z.number().int().min(1).max(65_536);
const sizeRange = z.object({ min: size, opt: size, max: size });

const manifestSchema = z.object({
  format: z.literal(1),
  /** SHA-256 of all that the engines depend on: `planOf` of exportTensorrt.ts */
  key: z.string(),
  shapes: z.object({ batch: sizeRange, textLength: sizeRange }),
  files: z.array(listedFileSchema).max(100),
});
export type EngineManifest = z.infer<typeof manifestSchema>;

/** The manifest of an export's engines, undefined where there are none. @throws UserError where it is damaged */
export function readEngineManifest(prefix: string, precision: Precision): EngineManifest | undefined {
  const path = engineManifest(prefix, precision);
  if (!existsSync(path)) return undefined;
  const parsed = manifestSchema.safeParse(readJson(path));
  if (parsed.success) return parsed.data;
  throw new UserError(`${path} is no manifest of cn-clip export tensorrt: ${explainIssues(parsed.error)}`);
}

/**
 * The engines of an export in a precision, undefined where there are none.
 *
 * @throws UserError where one is missing or is not the one that was built
 */
export function openEngines(
  { prefix }: ExportedFiles,
  precision: Precision,
): { shapes: EngineShapes; hashes: string[] } | undefined {
  const manifest = readEngineManifest(prefix, precision);
  if (manifest === undefined) return undefined;
  const graphs = towerParts(basename(prefix)).map((part) => part.fileName(precision));
  const names = graphs.flatMap((graph) => [engineName(graph), wrapperName(graph)]);
  const listed = new Map(manifest.files.map((file) => [file.name, file]));
  const path = engineManifest(prefix, precision);
  const found = requireUnchanged(dirname(prefix), listed, names, path);
  return { shapes: manifest.shapes, hashes: found.map(({ sha256 }) => sha256) };
}

/** Version of the standard operators of the graph, of which it has none. */
const OPSET = 17;

/**
 * A graph of one node, EPContext, which ONNX Runtime's TensorRT provider runs by an engine that was built before: the
 * form in which the provider takes engines of trtexec.
 *
 * @param engine name of the engine's file, which must lie beside the graph's
 */
export function wrapperModel(engine: string, input: Port, output: Port): Uint8Array {
  const portMessage = ({ name, shape, dtype }: Port) =>
    valueInfo(name, shape, elementTypeNumbers[dtype as keyof typeof elementTypeNumbers]);
  return onnxSchema
    .lookupType('ModelProto')
    .encode({
      irVersion: leastIrVersions[OPSET],
      producerName: 'cn-clip',
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: 'com.microsoft', version: 1 },
      ],
      graph: {
        name: 'cn-clip',
        node: [
          nodeMessage({
            op: 'EPContext',
            domain: 'com.microsoft',
            inputs: [input.name],
            outputs: [output.name],
            // ONNX Runtime leaves the node to the provider that `source` names.
            attributes: {
              embed_mode: 0,
              main_context: 1,
              ep_cache_context: engine,
              source: 'TensorrtExecutionProvider',
            },
          }),
        ],
        input: [portMessage(input)],
        output: [portMessage(output)],
      },
    })
    .finish();
}
