import type { ProviderOptions } from '../engine/onnx/sessionOptions.js';
import { UserError } from '../errors.js';
import type { LazyTensors } from '../io/tensor.js';
import { isResNet, type ModelConfig } from '../model/config.js';
import { leastIrVersions } from './encode.js';
import type { Parity, Precision } from './parity.js';
import type { Samples } from './samples.js';

/** What is exported: a `Model`, or a checkpoint of which one tower at a time is in memory. */
export interface ExportSource {
  config: ModelConfig;
  /** under the reference's names */
  tensors: LazyTensors;
  encodeImages(pixels: Float32Array, n: number): Promise<Float32Array>;
  encodeTexts(ids: Int32Array, n: number, length: number): Promise<Float32Array>;
  /** called when all features are there, where a tower was loaded for them alone */
  release?(): Promise<void>;
}

export interface ExportOptions {
  /** folder and beginning of the names of the files */
  out: string;
  /** `['fp32']` by default */
  precisions?: readonly Precision[];
  /** version of the ONNX operators, 13 to 23; 17 by default, which ONNX Runtime 1.12 and TensorRT 8.6 read */
  opset?: number;
  /** version of the file format, by default the least that the opset allows */
  irVersion?: number;
  /** weights in a file of their own; by default those of more than 1 GB */
  externalData?: boolean;
  /** also writes each graph as ONNX Runtime has fused it */
  optimize?: boolean;
  /** `transformersjs` also writes a folder that @huggingface/transformers loads */
  layout?: 'towers' | 'transformersjs';
  /** replaces files of the same names */
  overwrite?: boolean;
  /** word pieces by id, for vocab.txt and the embedded samples */
  vocabulary?: readonly string[];
  /** on which the files are compared with the model; by default embedded ones */
  samples?: Samples;
  /** execution provider that the files are compared on, `cpu` by default */
  provider?: string;
  providerOptions?: ProviderOptions;
  /** by default 0.9999 for fp32, 0.999 for fp16, 0.98 for int8 */
  minimumCosine?: Partial<Record<Precision, number>>;
  /** told of each file that is written */
  report?: (message: string) => void;
}

export interface ExportResult {
  /** paths of all files, the manifest last */
  files: string[];
  parity: Parity[];
}

export const defaultOpset = 17;
export const opsets = Object.keys(leastIrVersions).map(Number);
export const latestIrVersion = Math.max(...Object.values(leastIrVersions));
export const defaultMinimumCosine: Readonly<Record<Precision, number>> = {
  fp32: 0.9999,
  fp16: 0.999,
  int8: 0.98,
};

/** The versions to write. @throws UserError for those that are not there or do not go together */
export function versionsOf({ opset = defaultOpset, irVersion }: ExportOptions): {
  opset: number;
  irVersion: number;
} {
  const least = leastIrVersions[opset];
  if (least === undefined) {
    throw new UserError(`opset ${opset} can't be written, expected ${opsets[0]} to ${opsets.at(-1)}`);
  }
  const chosen = irVersion ?? least;
  if (!Number.isInteger(chosen) || chosen < least || chosen > latestIrVersion) {
    throw new UserError(
      `IR version ${chosen} does not fit opset ${opset}, expected ${least} to ${latestIrVersion}`,
    );
  }
  return { opset, irVersion: chosen };
}

/** @throws UserError where @huggingface/transformers could not load the model */
export function requireTransformersJs(config: ModelConfig, vocabulary: readonly string[] | undefined): void {
  if (isResNet(config)) {
    throw new UserError(
      '@huggingface/transformers has no ChineseCLIPModel with a ResNet: leave out --layout',
    );
  }
  if (vocabulary === undefined)
    throw new UserError('--layout transformersjs needs a vocabulary: give --vocabulary');
}
