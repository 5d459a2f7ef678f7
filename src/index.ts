export { UserError } from './errors.js';
export { preprocessImage } from './image/preprocess.js';
export { loadModelConfig, type ModelConfig } from './model/config.js';
export { type LoadOptions, loadModel } from './model/load.js';
export { Model } from './model/model.js';
export { Tokenizer } from './text/tokenizer.js';
export {
  createTrainer,
  type StepResult,
  Trainer,
  type TrainerOptions,
  type TrainingBatch,
} from './train/trainer.js';
