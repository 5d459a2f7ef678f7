import type { Graph } from '../engine/onnx/graph.js';
import type { ModelConfig } from '../model/config.js';
import type { FeatureNames, Precision } from './parity.js';
import { recordImageTower, recordJointModel, recordTextTower } from './record.js';

/** One graph of an export, in the precisions that are asked for. */
export interface Part {
  record: (config: ModelConfig, opset: number) => Graph;
  fileName: (precision: Precision) => string;
  /** name of the file with the weights */
  externalName: (fileName: string) => string;
  names: FeatureNames;
  /** both towers, whose features come out with length 1 */
  isJoint: boolean;
}

/** The towers, as the reference names their files. */
export function towerParts(base: string): Part[] {
  const externalName = (file: string) => `${file}.extra_file`;
  return [
    {
      record: recordImageTower,
      fileName: (precision) => `${base}.img.${precision}.onnx`,
      externalName,
      names: { image: { input: 'image', output: 'unnorm_image_features' } },
      isJoint: false,
    },
    {
      record: recordTextTower,
      fileName: (precision) => `${base}.txt.${precision}.onnx`,
      externalName,
      names: { text: { input: 'text', output: 'unnorm_text_features' } },
      isJoint: false,
    },
  ];
}

/** The folder for @huggingface/transformers. */
export function transformersJsFolder(base: string): string {
  return `${base}.transformersjs`;
}

/** Both towers in one graph, as @huggingface/transformers looks for it. */
export function jointPart(base: string): Part {
  const suffixes: Record<Precision, string> = { fp32: '', fp16: '_fp16', int8: '_quantized' };
  return {
    record: recordJointModel,
    fileName: (precision) => `${transformersJsFolder(base)}/onnx/model${suffixes[precision]}.onnx`,
    externalName: (file) => `${file}_data`,
    names: {
      image: { input: 'pixel_values', output: 'image_embeds' },
      text: { input: 'input_ids', output: 'text_embeds', mask: 'attention_mask' },
    },
    isJoint: true,
  };
}
