import { basename } from 'node:path';
import type * as Ort from 'onnxruntime-node';
import * as ort from 'onnxruntime-node';
import { preprocessorConfig } from '../checkpoint/huggingfaceConfig.js';
import { UserError } from '../errors.js';
import { normalize } from '../eval/ranking.js';
import { byteLengthOf } from '../io/tensor.js';
import { installedVersion, version } from '../io/version.js';
import { type ModelConfig, requireFit } from '../model/config.js';
import { Tokenizer } from '../text/tokenizer.js';
import { assemble } from './assemble.js';
import { checkOnnxFile } from './check.js';
import { type EncodeOptions, encodeExternal, encodeOnnx, externalLayout } from './encode.js';
import { inHalfPrecision } from './halfPrecision.js';
import type { OnnxModel, Port } from './onnxModel.js';
import {
  defaultMinimumCosine,
  type ExportOptions,
  type ExportResult,
  type ExportSource,
  requireTransformersJs,
  versionsOf,
} from './options.js';
import { LARGEST_HALF, largestValue, largestValueModel } from './overflow.js';
import {
  compare,
  type Features,
  featuresOf,
  frugalOptions,
  type Parity,
  type Precision,
  type Tower,
} from './parity.js';
import { jointPart, type Part, towerParts, transformersJsFolder } from './parts.js';
import { quantized } from './quantize.js';
import { embeddedSamples, type Samples } from './samples.js';
import { Staging } from './staging.js';
import { transformersJsConfig, writeTransformersJsFiles } from './transformersjs.js';

/** Protobuf ends at 2 GB; browsers have less. */
const INLINE_LIMIT_BYTES = 1e9;
const BATCH = 4;

/**
 * Writes a model as ONNX files that need nothing but standard operators: the towers as the reference names them
 * (`${out}.img.fp32.onnx`, `${out}.txt.fp16.onnx`), vocabulary, preprocessing, config, and a manifest. Batch size and text
 * length are free. Every file is checked and run on samples; all appear when all agree with the model, or none does.
 * One tensor at a time is in memory, besides the session that is being compared.
 *
 * @throws UserError where a file's features are further from the model's than `minimumCosine` allows, naming the tower;
 * where a file exists; for an opset or IR version out of range; for a weight that float16 can't hold
 */
export async function exportOnnx(source: ExportSource, options: ExportOptions): Promise<ExportResult> {
  const { out, precisions = ['fp32'], vocabulary, layout = 'towers', report = () => {} } = options;
  const { opset, irVersion } = versionsOf(options);
  const { config } = source;
  if (precisions.length === 0) throw new UserError('no precision to export: name fp32, fp16 or int8');
  if (vocabulary !== undefined) requireFit(new Tokenizer(vocabulary), config, 2);
  if (layout === 'transformersjs') requireTransformersJs(config, vocabulary);

  const base = basename(out);
  const staging = new Staging(out, options.overwrite ?? false);
  try {
    const parts = [...towerParts(base), ...(layout === 'transformersjs' ? [jointPart(base)] : [])];
    const manifest = `${base}.manifest.json`;
    writeCompanions(staging, config, vocabulary);
    for (const { name } of [...staging.files]) staging.requireFree(name);
    if (layout === 'transformersjs') {
      writeTransformersJsFiles(staging, transformersJsFolder(base), config, vocabulary!);
      staging.requireFree(transformersJsFolder(base));
    }
    staging.requireFree(manifest);
    for (const part of parts) for (const p of precisions) staging.requireFree(part.fileName(p));

    const samples = options.samples ?? embeddedSamples(config, vocabulary);
    const expected = await expectedFeatures(source, samples);
    await source.release?.();
    const parity: Parity[] = [];
    const graphs: object[] = [];
    const external: string[] = [];
    for (const part of parts) {
      const model = await assemble(part.record(config, opset), source.tensors);
      for (const precision of precisions) {
        const file = part.fileName(precision);
        const { model: converted, halfValues } = inPrecision(model, precision);
        const encoding = writeModel(staging, part, file, converted, irVersion, options.externalData);
        if (part.isJoint && encoding.external !== undefined) external.push(basename(file));
        checkOnnxFile(staging.path(file));
        const entries = await measure(staging, part, file, precision, samples, expected, options);
        if (halfValues !== undefined) {
          const scratch = `${file}.largest`;
          staging.write(scratch, encodeOnnx(largestValueModel(converted, halfValues), encoding));
          const largest = await largestValue(staging.path(scratch), samples, part.names);
          staging.remove(scratch);
          requireHalf(largest, file, entries);
        }
        parity.push(...entries);
        for (const entry of entries) report(describe(entry));
        const { inputs, outputs } = converted;
        graphs.push({
          file,
          precision,
          inputs: inputs.map(describePort),
          outputs: outputs.map(describePort),
        });
        if (options.optimize && !part.isJoint) {
          for (const name of await optimize(staging, file)) report(`${name}: as ONNX Runtime has fused it`);
        }
      }
    }
    if (layout === 'transformersjs') {
      staging.writeJson(`${transformersJsFolder(base)}/config.json`, transformersJsConfig(config, external));
    }
    staging.writeJson(manifest, {
      format: 1,
      opset,
      irVersion,
      graphs,
      parity,
      files: staging.files,
      model: config,
      versions: { 'cn-clip': version, 'onnxruntime-node': installedVersion('onnxruntime-node') },
    });
    return { files: staging.publish(manifest), parity };
  } catch (error) {
    staging.discard();
    throw error;
  }
}

function describePort({ name, shape, dtype }: Port): object {
  return { name, shape, type: dtype === 'I64' ? 'int64' : 'float32' };
}

function writeCompanions(
  staging: Staging,
  config: ModelConfig,
  vocabulary: readonly string[] | undefined,
): void {
  staging.writeJson('config.json', config);
  staging.writeJson('preprocessor_config.json', preprocessorConfig(config));
  if (vocabulary !== undefined) staging.writeText('vocab.txt', vocabulary.join('\n'));
}

async function expectedFeatures(source: ExportSource, samples: Samples): Promise<Features> {
  const { images, texts, length, pixels, ids } = samples;
  const width = source.config.embed_dim;
  const encode = async (count: number, encoder: (begin: number, end: number) => Promise<Float32Array>) => {
    const features = new Float32Array(count * width);
    for (let begin = 0; begin < count; begin += BATCH) {
      features.set(await encoder(begin, Math.min(count, begin + BATCH)), begin * width);
    }
    return features;
  };
  const size = pixels.length / images;
  return {
    image: await encode(images, (begin, end) =>
      source.encodeImages(pixels.subarray(begin * size, end * size), end - begin),
    ),
    text: await encode(texts, (begin, end) =>
      source.encodeTexts(ids.subarray(begin * length, end * length), end - begin, length),
    ),
  };
}

function inPrecision(model: OnnxModel, precision: Precision): { model: OnnxModel; halfValues?: string[] } {
  if (precision === 'fp16') return inHalfPrecision(model);
  return { model: precision === 'int8' ? quantized(model) : model };
}

/** @returns how it was written */
function writeModel(
  staging: Staging,
  part: Part,
  file: string,
  model: OnnxModel,
  irVersion: number,
  externalData: boolean | undefined,
): EncodeOptions {
  let bytes = 0;
  for (const tensor of model.initializers.values()) bytes += byteLengthOf(tensor);
  if (!(externalData ?? bytes > INLINE_LIMIT_BYTES)) {
    if (bytes > 2 ** 31 - 2 ** 24) {
      throw new UserError(
        `${file} would have ${bytes} bytes, an ONNX file ends at 2 GB: leave out --external-data false`,
      );
    }
    staging.write(file, encodeOnnx(model, { irVersion }));
    return { irVersion };
  }
  const external = externalLayout(model, basename(part.externalName(file)));
  staging.write(part.externalName(file), encodeExternal(model, external));
  staging.write(file, encodeOnnx(model, { irVersion, external }));
  return { irVersion, external };
}

/** @throws UserError naming the tower that is too far from the model */
async function measure(
  staging: Staging,
  part: Part,
  file: string,
  precision: Precision,
  samples: Samples,
  expected: Features,
  { minimumCosine }: ExportOptions,
  width = expected.image.length / samples.images,
): Promise<Parity[]> {
  const threshold = minimumCosine?.[precision] ?? defaultMinimumCosine[precision];
  const found = await featuresOf(staging.path(file), samples, part.names, width);
  const wanted = part.isJoint
    ? { image: normalize(expected.image, width), text: normalize(expected.text, width) }
    : expected;
  return (Object.entries(found) as [Tower, Float32Array][]).map(([tower, features]) => {
    const entry = { file, tower, precision, ...compare(tower, features, wanted, width), threshold };
    if (entry.minCosine >= threshold) return entry;
    const found = Number.isNaN(entry.minCosine)
      ? 'features that are not finite'
      : `features with a cosine of ${entry.minCosine.toFixed(5)} to the model's (mean ${entry.meanCosine.toFixed(5)})`;
    throw new UserError(
      `the ${tower} tower in ${precision} (${file}) has ${found} on ${entry.samples} samples, at least ${threshold} was ` +
        `asked for. Nothing was written. --minimum-cosine.${precision} sets what is enough`,
    );
  });
}

/** Notes the largest value of a file in half precision. @throws UserError where float16 does not reach so far */
function requireHalf(largest: number, file: string, entries: Parity[]): void {
  if (largest <= LARGEST_HALF) {
    for (const entry of entries) entry.largestHalf = largest;
    return;
  }
  const towers = entries.map(({ tower }) => tower).join(' or ');
  throw new UserError(
    `the ${towers} tower in fp16 (${file}) computes values up to ${largest.toExponential(1)}, float16 ends at ` +
      `${LARGEST_HALF}: export it in fp32`,
  );
}

/** The graph as ONNX Runtime runs it, for any processor. @returns names of the files */
async function optimize(staging: Staging, file: string): Promise<string[]> {
  const name = file.replace(/\.onnx$/, '.optimized.onnx');
  const external = `${basename(name)}.extra_file`;
  const options: Ort.InferenceSession.SessionOptions = {
    ...frugalOptions,
    graphOptimizationLevel: 'extended',
    optimizedModelFilePath: staging.path(name),
    extra: {
      session: {
        disable_prepacking: '1',
        optimized_model_external_initializers_file_name: external,
        optimized_model_external_initializers_min_size_in_bytes: '1024',
      },
    },
  };
  const session = await ort.InferenceSession.create(staging.path(file), options);
  await session.release();
  const names = [name, name.slice(0, -basename(name).length) + external];
  for (const each of names) staging.add(each);
  return names;
}

function describe({ file, tower, minCosine, meanCosine, topTenAgreement, samples }: Parity): string {
  const agreement = `${(100 * topTenAgreement).toFixed(0)} % of the top ten`;
  return `${file}: ${tower} features, cosine min ${minCosine.toFixed(6)} mean ${meanCosine.toFixed(6)}, ${agreement} (${samples} samples)`;
}
