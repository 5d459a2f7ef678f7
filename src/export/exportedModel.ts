import type { Hash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { type ProviderOptions, sessionsSideBySide } from '../engine/onnx/sessionOptions.js';
import { type GraphFile, openSessions, type SessionInput, type Sessions } from '../engine/onnx/sessions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { picturesAtOnce, textsAtOnce } from '../model/atOnce.js';
import type { ModelConfig } from '../model/config.js';
import type { DualEncoder } from '../model/dualEncoder.js';
import { assertPixels, assertTexts } from '../model/model.js';
import { countParameters } from '../model/parameters.js';
import { type EngineShapes, paddedTexts, runDivided } from './engineBatches.js';
import { openEngines, wrapperName } from './engineFiles.js';
import {
  choosePrecision,
  type ExportedFiles,
  graphBytes,
  graphFiles,
  openExport,
  requireExport,
  requireUnchanged,
} from './exportedFiles.js';
import type { Precision, Tower } from './parity.js';
import { towerParts } from './parts.js';

export interface ExportedModelOptions {
  /** by default fp32, or the only one that was exported */
  precision?: Precision;
  /** execution provider of ONNX Runtime, `cpu` by default */
  provider?: string;
  providerOptions?: ProviderOptions;
  /**
   * `latency` (default): a row takes the least time. `throughput`: on the processor batches are divided among several
   * sessions, which encode more rows a second; a single row takes longer, and each session holds the weights.
   */
  optimizeFor?: 'latency' | 'throughput';
  /** told what the user should know; `console.warn` by default */
  warn?: (message: string) => void;
}

/** What an ExportedModel is made of. */
export interface ExportedTowers {
  config: ModelConfig;
  description: string;
  /** undefined where the manifest does not say it */
  logitScale: number | undefined;
  towers: Readonly<Record<Tower, Sessions>>;
  /** SHA-256 of each file that features depend on */
  hashes: readonly string[];
  /** what the towers take, where that is not everything */
  shapes?: EngineShapes;
}

/** The towers that `cn-clip export onnx` wrote, run by ONNX Runtime. A tower is loaded when it encodes first. */
export class ExportedModel implements DualEncoder {
  constructor(private readonly given: ExportedTowers) {}

  /**
   * Opens the towers of an export. On the TensorRT provider the engines of `cn-clip export tensorrt` are taken where
   * they are there.
   *
   * @throws UserError where the precision was not exported, a file is missing or is not the one that was exported, or
   * the provider can't be started
   */
  static async open(exported: ExportedFiles, options: ExportedModelOptions = {}): Promise<ExportedModel> {
    const { provider = 'cpu', providerOptions = {}, optimizeFor = 'latency', warn = console.warn } = options;
    const { prefix, manifest, files, config, logitScale } = exported;
    const precision = choosePrecision(exported, options.precision);
    await (await createEngine('onnx', provider, warn, providerOptions)).dispose();
    const folder = dirname(prefix);
    const engines = provider === 'tensorrt' ? openEngines(exported, precision) : undefined;
    if (provider === 'tensorrt' && engines === undefined) {
      warn(
        `${prefix} has no engines in ${precision}: TensorRT builds them now, and anew in every run; cn-clip export ` +
          'tensorrt keeps them',
      );
    }
    const graphs = towerParts(basename(prefix)).map((part) => part.fileName(precision));
    const names = graphs.flatMap((graph) => graphFiles(exported, graph));
    const towers = towerFiles(
      prefix,
      (graph) => join(folder, engines === undefined ? graph : wrapperName(graph)),
      precision,
    );
    const sessionsOf = (file: GraphFile) => {
      const bytes = graphBytes(exported, basename(file.path));
      const count = optimizeFor === 'latency' ? 1 : sessionsSideBySide(provider, bytes);
      return openSessions(file, provider, providerOptions, count);
    };
    return new ExportedModel({
      config,
      description: `${prefix} in ${precision}, onnx (${provider})${engines === undefined ? '' : ', its engines'}`,
      logitScale,
      towers: { image: sessionsOf(towers.image), text: sessionsOf(towers.text) },
      hashes: engines?.hashes ?? requireUnchanged(folder, files, names, manifest).map(({ sha256 }) => sha256),
      shapes: engines?.shapes,
    });
  }

  get config(): ModelConfig {
    return this.given.config;
  }

  get description(): string {
    return this.given.description;
  }

  get parameterCount(): number {
    return countParameters(this.config);
  }

  /** @throws UserError where the manifest is of an earlier version, which does not say it */
  get logitScale(): number {
    const { logitScale, description } = this.given;
    if (logitScale !== undefined) return logitScale;
    throw new UserError(`${description}: the manifest has no logitScale; export the model again`);
  }

  encodeImages(pixels: Float32Array, n: number): Promise<Float32Array> {
    assertPixels(this.config, pixels, n);
    const { image_resolution: side } = this.config;
    const atOnce = picturesAtOnce(this.config, this.given.towers.image.rowsAtOnce);
    return this.encode('image', { type: 'float32', data: pixels, dims: [n, 3, side, side] }, atOnce);
  }

  /** @throws UserError where a text is longer than the engines take */
  encodeTexts(ids: Int32Array, n: number, length: number): Promise<Float32Array> {
    assertTexts(this.config, ids, n, length);
    const { min, max } = this.given.shapes?.textLength ?? { min: 0, max: Infinity };
    if (length > max) {
      throw new UserError(
        `${this.description}: texts of ${length} tokens, and the engines take up to ${max}: give a smaller context ` +
          'length, or build them with a larger --text-length.max',
      );
    }
    const data = BigInt64Array.from(paddedTexts(ids, n, length, min), BigInt);
    const atOnce = textsAtOnce(length, this.given.towers.text.rowsAtOnce);
    return this.encode('text', { type: 'int64', data, dims: [n, Math.max(length, min)] }, atOnce);
  }

  addTo(hash: Hash): void {
    for (const each of this.given.hashes) hash.update(each);
  }

  async dispose(): Promise<void> {
    const { image, text } = this.given.towers;
    await Promise.all([image.release(), text.release()]);
  }

  private encode(tower: Tower, input: SessionInput, atOnce: number): Promise<Float32Array> {
    const { towers, shapes } = this.given;
    return runDivided(towers[tower], input, shapes?.batch ?? { min: 1, max: atOnce }, this.config.embed_dim);
  }
}

/**
 * Opens what `exportOnnx` wrote, by its folder, prefix or manifest.
 *
 * @throws UserError where nothing was exported there, or as `ExportedModel.open`
 */
export async function loadExportedModel(
  location: string,
  options: ExportedModelOptions = {},
): Promise<ExportedModel> {
  return ExportedModel.open(openExport(requireExport(location)), options);
}

/** The towers of an export, in files that are named after those with the graphs. */
export function towerFiles(
  prefix: string,
  pathOf: (graph: string) => string,
  precision: Precision,
): Record<Tower, GraphFile> {
  const entries = towerParts(basename(prefix)).map((part): [Tower, GraphFile] => {
    const tower = part.names.image === undefined ? 'text' : 'image';
    const { input, output } = part.names[tower]!;
    return [tower, { path: pathOf(part.fileName(precision)), input, output }];
  });
  return Object.fromEntries(entries) as Record<Tower, GraphFile>;
}
