import { openWeights, weightsPath } from '../checkpoint/files.js';
import { UserError } from '../errors.js';
import { fit } from './load.js';
import type { Model } from './model.js';
import { isTextParameter, isVisionParameter } from './parameters.js';

/** What became of the tensors of a file that a tower was initialised from. */
export interface InitializationReport {
  tower: 'vision' | 'text';
  file: string;
  /** parameters that got the file's values */
  taken: string[];
  /** of these, positions that were resized to the model's resolution */
  resized: string[];
  /** parameters of the tower that the file lacks: they keep their random values */
  missing: string[];
  /** tensors of the file that the tower has no place for */
  ignored: string[];
}

/** The parameter that a tensor of OpenAI's CLIP stands for: the image tower and the temperature, nothing else. */
export function clipParameterName(name: string): string | undefined {
  return isVisionParameter(name) || name === 'logit_scale' ? name : undefined;
}

/**
 * The parameter that a tensor of a Hugging Face BERT stands for: with or without `bert.`, with the older names gamma
 * and beta. Pooler and heads have no place in the text tower.
 */
export function bertParameterName(name: string): string | undefined {
  const plain = name.replace(/^bert\./, '');
  if (!/^(embeddings|encoder)\./.test(plain) || plain === 'embeddings.position_ids') return undefined;
  return `bert.${plain.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias')}`;
}

const towers = {
  vision: {
    nameOf: clipParameterName,
    has: (name: string) => isVisionParameter(name) || name === 'logit_scale',
  },
  text: {
    nameOf: bertParameterName,
    has: (name: string) => isTextParameter(name) && name !== 'text_projection',
  },
};

/**
 * Initialises one tower from weights that were trained elsewhere, as pretraining starts: the image tower and
 * logit_scale from OpenAI's CLIP, the text tower from RoBERTa-wwm-ext in Hugging Face form.
 *
 * @param file safetensors or PyTorch file (OpenAI's TorchScript archives too), or a folder with one
 * @throws UserError where a tensor has another shape, or none of the file's belongs to the tower
 */
export function initializeTower(model: Model, tower: 'vision' | 'text', file: string): InitializationReport {
  const { nameOf, has } = towers[tower];
  const path = weightsPath(file);
  const { tensors: stored } = openWeights(path);
  const named = new Map([...stored].map(([name, tensor]) => [nameOf(name), tensor]));
  const report: InitializationReport = { tower, file, taken: [], resized: [], missing: [], ignored: [] };
  const values = new Map<string, Float32Array>();
  for (const [name, { shape }] of model.weights) {
    if (!has(name)) continue;
    if (!named.has(name)) {
      report.missing.push(name);
      continue;
    }
    const tensors = new Map([[name, named.get(name)!]]);
    values.set(
      name,
      fit(tensors, name, shape, path, () => report.resized.push(name)),
    );
    report.taken.push(name);
  }
  report.ignored = [...stored.keys()].filter((name) => !values.has(nameOf(name) ?? ''));
  if (values.size === 0) {
    const expected = tower === 'vision' ? "'visual.…' of OpenAI's CLIP" : "'bert.embeddings.…' of a BERT";
    throw new UserError(`${file} holds nothing for the ${tower} tower: expected tensors named ${expected}`);
  }
  // All of them fit: only now is the model touched.
  for (const [name, data] of values) model.weights.get(name)!.write(data);
  return report;
}

/** The report as lines of a table; long lists of names are cut, with their count. */
export function initializationTable({ tower, file, ...lists }: InitializationReport): string[] {
  const shown = 4;
  return [
    `${tower} tower from ${file}:`,
    ...Object.entries(lists).map(([what, names]) => {
      const some =
        what === 'taken' ? '' : names.slice(0, shown).join(', ') + (names.length > shown ? ', …' : '');
      return `  ${what.padEnd(8)} ${String(names.length).padStart(5)}  ${some}`.trimEnd();
    }),
  ];
}
