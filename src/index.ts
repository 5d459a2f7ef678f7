export { type ConvertOptions, convertCheckpoint } from './checkpoint/convert.js';
export { type CheckpointContent, writeCheckpoint } from './checkpoint/directory.js';
export { interpolateCheckpoints } from './checkpoint/interpolate.js';
export { type Checkpoint, openCheckpoint } from './checkpoint/open.js';
export type { OptimizerState, TrainingState } from './checkpoint/trainingState.js';
export {
  type Caption,
  type Dataset,
  type DatasetSource,
  type Id,
  type OpenDatasetOptions,
  openDataset,
  type Pair,
  type StoredImage,
  type TextRecord,
} from './data/dataset.js';
export type { ProviderOptions } from './engine/onnx/sessionOptions.js';
export { UserError } from './errors.js';
export type { EngineShapes, SizeRange } from './export/engineBatches.js';
export { ExportedModel, type ExportedModelOptions, loadExportedModel } from './export/exportedModel.js';
export { exportOnnx } from './export/exportOnnx.js';
export { exportTensorrt, type TensorrtOptions } from './export/exportTensorrt.js';
export type { ExportOptions, ExportResult, ExportSource } from './export/options.js';
export type { Parity, Precision } from './export/parity.js';
export type { Samples } from './export/samples.js';
export { type DownloadOptions, downloadModel } from './hub/download.js';
export { preprocessImage, resizeImage } from './image/preprocess.js';
export { type LazyTensor, type LazyTensors, readValues } from './io/tensor.js';
export { loadModelConfig, type ModelConfig } from './model/config.js';
export type { DualEncoder } from './model/dualEncoder.js';
export { type LoadOptions, loadModel } from './model/load.js';
export type { LoraOptions } from './model/lora.js';
export { Model } from './model/model.js';
export { loadTokenizer, prepareText, Tokenizer } from './text/tokenizer.js';
export {
  createTrainer,
  type StepResult,
  Trainer,
  type TrainerOptions,
  type TrainingBatch,
} from './train/trainer.js';
