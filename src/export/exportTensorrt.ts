import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { findTrtexec } from '../engine/findTrtexec.js';
import { openSessions } from '../engine/onnx/sessions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { installedVersion, version } from '../io/version.js';
import { readVocabularyFile } from '../text/vocabularyFile.js';
import type { EngineShapes } from './engineBatches.js';
import {
  engineManifest,
  engineName,
  openEngines,
  readEngineManifest,
  wrapperModel,
  wrapperName,
} from './engineFiles.js';
import {
  choosePrecision,
  type ExportedFiles,
  graphFiles,
  openExport,
  requireUnchanged,
  vocabularyOfExport,
} from './exportedFiles.js';
import { ExportedModel, towerFiles } from './exportedModel.js';
import type { Port } from './onnxModel.js';
import { defaultMinimumCosine } from './options.js';
import { compare, type Features, type Parity, type Tower } from './parity.js';
import { embeddedSamples, type Samples } from './samples.js';
import { Staging } from './staging.js';
import { buildEngine, type EngineRequest, trtexecArguments } from './trtexec.js';
import { describe } from './verify.js';

/** Precisions that TensorRT reads: the integer products of int8 files are no operators of its. */
export const enginePrecisions = ['fp32', 'fp16'] as const;
export type EnginePrecision = (typeof enginePrecisions)[number];

export interface TensorrtOptions {
  precisions: readonly EnginePrecision[];
  shapes: EngineShapes;
  /** trtexec, where it is not in PATH */
  trtexec?: string;
  /** the GPU that builds and runs the engines, counted from 0 */
  deviceId?: number;
  /** MiB that a layer may take beside its values; by default all of the GPU's */
  workspace?: number;
  /** file with TensorRT's measurements, which is read and added to */
  timingCache?: string;
  /** from 0, built fast, to 5, running fast; by default TensorRT's own, 3 */
  optimizationLevel?: number;
  /** runs the engines, and compares them with the graphs on the CPU; without, no provider is needed */
  compare?: boolean;
  minimumCosine?: Partial<Record<EnginePrecision, number>>;
  overwrite?: boolean;
  report?: (message: string) => void;
}

/** What is built for a precision. */
interface Plan {
  precision: EnginePrecision;
  engines: { tower: Tower; graph: string; output: string; request: EngineRequest }[];
  /** names of the graphs and of the files with their weights */
  sources: string[];
  /** SHA-256 of all that the engines depend on, besides TensorRT and the GPU */
  key: string;
}

/** The commands with which engines are built. @throws UserError as `exportTensorrt` */
export function tensorrtCommands(prefix: string, options: TensorrtOptions): string[] {
  const exported = openExport(prefix);
  return options.precisions
    .flatMap((precision) => planOf(exported, precision, options).engines)
    .map(({ request }) => [options.trtexec ?? 'trtexec', ...trtexecArguments(request)].join(' '));
}

/**
 * Builds TensorRT engines of the towers that `exportOnnx` wrote, each for a range of shapes: `${prefix}.img.fp16.trt`,
 * and beside it a graph `${prefix}.img.fp16.trt.onnx` by which ONNX Runtime's TensorRT provider runs it. trtexec builds
 * them, since onnxruntime-node can't tell the provider shapes, precision or where to keep engines. Engines of the same
 * files, shapes and options are kept. All of a precision appear when they agree with the graphs, or none does.
 *
 * @returns paths of all files
 * @throws UserError where trtexec or the provider is missing, an engine can't be built or is too far from its graph,
 * or other engines are there
 */
export async function exportTensorrt(prefix: string, options: TensorrtOptions): Promise<string[]> {
  const { precisions, deviceId, compare: isCompared = true, report = () => {} } = options;
  const exported = openExport(prefix);
  const plans = precisions.map((precision) => planOf(exported, precision, options));
  for (const { sources } of plans) {
    requireUnchanged(dirname(prefix), exported.files, sources, exported.manifest);
  }
  if (isCompared) {
    vocabularyOfExport(exported);
    await (await createEngine('onnx', 'tensorrt', report, { deviceId })).dispose();
  }
  const trtexec = findTrtexec(options.trtexec);
  const written: string[] = [];
  for (const plan of plans) {
    const kept = keptEngines(exported, plan);
    for (const path of kept) report(`${path}: there already`);
    written.push(...(kept.length > 0 ? kept : await build(exported, plan, trtexec, options)));
  }
  return written;
}

function planOf(exported: ExportedFiles, precision: EnginePrecision, options: TensorrtOptions): Plan {
  const { prefix, config, manifest } = exported;
  choosePrecision(exported, precision);
  const { batch, textLength } = options.shapes;
  for (const [name, { min, opt, max }] of Object.entries(options.shapes)) {
    if (min <= opt && opt <= max) continue;
    throw new UserError(`${name}: expected min ≤ opt ≤ max, found ${min}, ${opt}, ${max}`);
  }
  const positions = config.text_max_position_embeddings;
  if (textLength.max > positions) {
    throw new UserError(
      `textLength.max is ${textLength.max}, ${manifest} has a model of ${positions} positions`,
    );
  }
  const { image_resolution: side } = config;
  const shape = (tower: Tower, of: 'min' | 'opt' | 'max') =>
    tower === 'image' ? `${batch[of]}x3x${side}x${side}` : `${batch[of]}x${textLength[of]}`;
  const { deviceId, workspace, timingCache, optimizationLevel } = options;
  const folder = dirname(prefix);
  const engines = Object.entries(towerFiles(prefix, (graph) => graph, precision)).map(([name, file]) => {
    const [tower, graph] = [name as Tower, file.path];
    const request: EngineRequest = {
      graph: join(folder, graph),
      engine: join(folder, engineName(graph)),
      precision,
      input: file.input,
      shapes: { min: shape(tower, 'min'), opt: shape(tower, 'opt'), max: shape(tower, 'max') },
      deviceId,
      workspace,
      timingCache,
      optimizationLevel,
    };
    return { tower, graph, output: file.output, request };
  });
  const sources = engines.flatMap(({ graph }) => graphFiles(exported, graph));
  const hashes = sources.map((name) => exported.files.get(name)!.sha256);
  // Paths don't change an engine.
  const asked = engines.map(({ request }) =>
    trtexecArguments({ ...request, graph: '', engine: '', timingCache: undefined }),
  );
  const key = createHash('sha256')
    .update(JSON.stringify([hashes, asked]))
    .digest('hex');
  return { precision, engines, sources, key };
}

/** Paths of engines that were built of the same files with the same options; none where others or none are there. */
function keptEngines(exported: ExportedFiles, { precision, engines, key }: Plan): string[] {
  const { prefix } = exported;
  if (readEngineManifest(prefix, precision)?.key !== key) return [];
  openEngines(exported, precision);
  return engines.map(({ request }) => request.engine);
}

async function build(
  exported: ExportedFiles,
  { precision, engines, key }: Plan,
  trtexec: string,
  options: TensorrtOptions,
): Promise<string[]> {
  const { prefix, config } = exported;
  const { shapes, overwrite = false, compare: isCompared = true, report = () => {} } = options;
  const manifest = basename(engineManifest(prefix, precision));
  const staging = new Staging(prefix, overwrite);
  try {
    const names = engines.flatMap(({ graph }) => [engineName(graph), wrapperName(graph)]);
    for (const name of [...names, manifest]) staging.requireFree(name);
    for (const { tower, graph, output, request } of engines) {
      report(`${graph}: building its engine, which can take minutes`);
      await buildEngine(trtexec, { ...request, engine: staging.path(engineName(graph)) });
      staging.add(engineName(graph));
      const { image_resolution: side, embed_dim: width } = config;
      const input: Port =
        tower === 'image'
          ? { name: request.input, shape: ['n', 3, side, side], dtype: 'F32' }
          : { name: request.input, shape: ['n', 'length'], dtype: 'I64' };
      const features: Port = { name: output, shape: ['n', width], dtype: 'F32' };
      staging.write(wrapperName(graph), [wrapperModel(engineName(graph), input, features)]);
    }
    const parity = isCompared ? await parityOf(exported, precision, staging, options) : [];
    for (const entry of parity) report(describe(entry));
    if (!isCompared) report(`${prefix} in ${precision}: engines that nobody has run yet`);
    staging.writeJson(manifest, {
      format: 1,
      key,
      shapes,
      parity,
      files: staging.files,
      versions: { 'cn-clip': version, 'onnxruntime-node': installedVersion('onnxruntime-node') },
    });
    return staging.publish(manifest);
  } catch (error) {
    staging.discard();
    throw error;
  }
}

/** Compares engines with the graphs that they were built from. @throws UserError naming one that is too far from it */
async function parityOf(
  exported: ExportedFiles,
  precision: EnginePrecision,
  staging: Staging,
  { shapes, deviceId, minimumCosine }: TensorrtOptions,
): Promise<Parity[]> {
  const { prefix, config } = exported;
  const vocabulary = vocabularyOfExport(exported);
  const words = vocabulary === undefined ? undefined : readVocabularyFile(vocabulary).vocabulary;
  const samples = cutTexts(embeddedSamples(config, words), shapes.textLength.max);
  const expected = await featuresOf(await ExportedModel.open(exported, { precision }), samples);
  const towers = towerFiles(prefix, (graph) => staging.path(wrapperName(graph)), precision);
  const sessions = (tower: Tower) => openSessions(towers[tower], 'tensorrt', { deviceId });
  const engines = new ExportedModel({
    config,
    description: `${prefix} in ${precision}, its engines`,
    logitScale: undefined,
    towers: { image: sessions('image'), text: sessions('text') },
    hashes: [],
    shapes,
  });
  const found = await featuresOf(engines, samples);
  const threshold = minimumCosine?.[precision] ?? defaultMinimumCosine[precision];
  const entries: Parity[] = [];
  for (const tower of ['image', 'text'] as const) {
    const compared = await compare(tower, found[tower], expected, config.embed_dim);
    const file = engineName(basename(towerFiles(prefix, (graph) => graph, precision)[tower].path));
    if (!(compared.minCosine >= threshold)) {
      throw new UserError(
        `${file} has features with a cosine of ${compared.minCosine.toFixed(5)} to those of its graph on the CPU, at ` +
          `least ${threshold} was asked for. Nothing was written. --minimum-cosine.${precision} sets what is enough`,
      );
    }
    entries.push({ file, tower, precision, ...compared, threshold });
  }
  return entries;
}

async function featuresOf(model: ExportedModel, samples: Samples): Promise<Features> {
  try {
    return {
      image: await model.encodeImages(samples.pixels, samples.images),
      text: await model.encodeTexts(samples.ids, samples.texts, samples.length),
    };
  } finally {
    await model.dispose();
  }
}

/** Texts with their first tokens alone, which are compared as well as whole ones. */
function cutTexts(samples: Samples, most: number): Samples {
  const { ids, texts, length } = samples;
  if (length <= most) return samples;
  const cut = new Int32Array(texts * most);
  for (let i = 0; i < texts; i++) cut.set(ids.subarray(i * length, i * length + most), i * most);
  return { ...samples, ids: cut, length: most };
}
