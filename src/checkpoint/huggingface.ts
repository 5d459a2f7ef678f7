import { UserError } from '../errors.js';
import type { LazyTensor, LazyTensors } from '../io/tensor.js';
import { elementBytes } from '../io/tensor.js';

/**
 * The names of transformers' ChineseCLIPModel and what they stand for here. The towers' modules have other names, the
 * two projections are linear layers (out, in) instead of matrices (in, out), and the image tower's joint projection of
 * query, key and value is three.
 */

const QUERY_KEY_VALUE = ['q_proj', 'k_proj', 'v_proj'];

/** Beginnings and ends of names, ours and theirs. */
const visionNames: readonly (readonly [ours: string, theirs: string])[] = [
  ['visual.class_embedding', 'vision_model.embeddings.class_embedding'],
  ['visual.positional_embedding', 'vision_model.embeddings.position_embedding.weight'],
  ['visual.conv1.weight', 'vision_model.embeddings.patch_embedding.weight'],
  ['visual.ln_pre.', 'vision_model.pre_layrnorm.'],
  ['visual.ln_post.', 'vision_model.post_layernorm.'],
  ['visual.transformer.resblocks.', 'vision_model.encoder.layers.'],
];
const blockNames: readonly (readonly [ours: string, theirs: string])[] = [
  ['.attn.out_proj.', '.self_attn.out_proj.'],
  ['.ln_1.', '.layer_norm1.'],
  ['.ln_2.', '.layer_norm2.'],
  ['.mlp.c_fc.', '.mlp.fc1.'],
  ['.mlp.c_proj.', '.mlp.fc2.'],
];
const transposed: readonly (readonly [ours: string, theirs: string])[] = [
  ['visual.proj', 'visual_projection.weight'],
  ['text_projection', 'text_projection.weight'],
];

/** Whether tensors have the names of transformers' ChineseCLIPModel. */
export function isHuggingFace(tensors: LazyTensors): boolean {
  return tensors.has('text_model.embeddings.word_embeddings.weight');
}

/**
 * The tensors of a ChineseCLIPModel under the reference's names. Names that have no counterpart, as position_ids and
 * the text pooler that the model does not use, are left out.
 *
 * @throws UserError where query, key and value of a layer do not fit together
 */
export function fromHuggingFace(tensors: LazyTensors, path: string): Map<string, LazyTensor> {
  const ours = new Map<string, LazyTensor>();
  for (const [name, tensor] of tensors) {
    const matrix = transposed.find(([, theirs]) => theirs === name)?.[0];
    if (matrix !== undefined) ours.set(matrix, transpose(tensor));
    else if (name === 'logit_scale') ours.set(name, tensor);
    else if (/^text_model\.(pooler\.|embeddings\.position_ids$)/.test(name)) continue;
    else if (name.startsWith('text_model.')) ours.set(name.replace(/^text_model\./, 'bert.'), tensor);
    else if (name === 'vision_model.embeddings.position_ids') continue;
    else {
      const joint = /^(vision_model\.encoder\.layers\.\d+)\.self_attn\.([qkv]_proj)\.(weight|bias)$/.exec(
        name,
      );
      if (joint === null) {
        ours.set(rename(name, 1, 0), tensor);
      } else if (joint[2] === QUERY_KEY_VALUE[0]) {
        const [, layer, , kind] = joint;
        const parts = QUERY_KEY_VALUE.map((part) => `${layer}.self_attn.${part}.${kind}`);
        const block = rename(`${layer}.`, 1, 0);
        ours.set(`${block}attn.in_proj_${kind}`, concatenate(tensors, parts, path));
      }
    }
  }
  return ours;
}

/**
 * The tensors of a model with a ViT under the names of ChineseCLIPModel.
 *
 * @param tensors under the reference's names
 */
export function toHuggingFace(tensors: LazyTensors): Map<string, LazyTensor> {
  const theirs = new Map<string, LazyTensor>();
  for (const [name, tensor] of tensors) {
    const matrix = transposed.find(([ours]) => ours === name)?.[1];
    const joint = /^visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$/.exec(name);
    if (matrix !== undefined) theirs.set(matrix, transpose(tensor));
    else if (joint !== null) {
      const [, layer, kind] = joint;
      QUERY_KEY_VALUE.forEach((part, i) => {
        theirs.set(`vision_model.encoder.layers.${layer}.self_attn.${part}.${kind}`, third(tensor, i));
      });
    } else if (name.startsWith('bert.')) theirs.set(name.replace(/^bert\./, 'text_model.'), tensor);
    else theirs.set(rename(name, 0, 1), tensor);
  }
  return theirs;
}

/** Renames a tensor of the image tower from one side to the other; a name that is not known stays. */
function rename(name: string, from: 0 | 1, to: 0 | 1): string {
  const beginning = visionNames.find((pair) => name.startsWith(pair[from]));
  if (beginning === undefined) return name;
  const renamed = beginning[to] + name.slice(beginning[from].length);
  const part = blockNames.find((pair) => renamed.includes(pair[from]));
  return part === undefined ? renamed : renamed.replace(part[from], part[to]);
}

/** A matrix with rows and columns exchanged. */
function transpose(tensor: LazyTensor): LazyTensor {
  const [rows, columns] = tensor.shape;
  if (tensor.shape.length !== 2) return tensor;
  const width = elementBytes[tensor.dtype];
  return {
    shape: [columns, rows],
    dtype: tensor.dtype,
    read: () => {
      const from = tensor.read();
      // Its other axis may have any length.
      if (from.length === 0) return from;
      const to = new Uint8Array(from.length);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const source = (row * columns + column) * width;
          const target = (column * rows + row) * width;
          for (let byte = 0; byte < width; byte++) to[target + byte] = from[source + byte];
        }
      }
      return to;
    },
  };
}

/** The i-th third of a tensor's rows. */
function third(tensor: LazyTensor, i: number): LazyTensor {
  const [rows, ...rest] = tensor.shape;
  return {
    shape: [rows / 3, ...rest],
    dtype: tensor.dtype,
    read: () => {
      const bytes = tensor.read();
      return bytes.subarray((i * bytes.length) / 3, ((i + 1) * bytes.length) / 3);
    },
  };
}

/** Tensors one below the other. */
function concatenate(tensors: LazyTensors, names: readonly string[], path: string): LazyTensor {
  const parts = names.map((name) => {
    const part = tensors.get(name);
    if (part === undefined) throw new UserError(`${path}: tensor '${name}' is missing`);
    return part;
  });
  const [{ shape, dtype }] = parts;
  const [rows, ...rest] = shape;
  parts.forEach((part, i) => {
    if (shape.length === 0 || part.dtype !== dtype || part.shape.join() !== shape.join()) {
      throw new UserError(
        `${path}: '${names[i]}' is ${part.dtype} [${part.shape}], '${names[0]}' ${dtype} [${shape}]: ` +
          'query, key and value must be alike',
      );
    }
  });
  return {
    shape: [rows * parts.length, ...rest],
    dtype,
    read: () => {
      const bytes = parts.map((part) => part.read());
      const joined = new Uint8Array(bytes.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const part of bytes) {
        joined.set(part, at);
        at += part.length;
      }
      return joined;
    },
  };
}
