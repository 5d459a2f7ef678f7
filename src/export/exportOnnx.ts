import { basename } from 'node:path';
import { preprocessorConfig } from '../checkpoint/huggingfaceConfig.js';
import { sessionOptions } from '../engine/onnx/sessionOptions.js';
import { createEngine } from '../engine/select.js';
import { UserError } from '../errors.js';
import { byteLengthOf, readValues } from '../io/tensor.js';
import { installedVersion, version } from '../io/version.js';
import { type ModelConfig, requireFit } from '../model/config.js';
import { inParts, rangesOf } from '../rows.js';
import { Tokenizer } from '../text/tokenizer.js';
import { assemble } from './assemble.js';
import { checkOnnxFile } from './check.js';
import { type EncodeOptions, encodeExternal, encodeOnnx, externalLayout } from './encode.js';
import { MANIFEST } from './exportedFiles.js';
import { inHalfPrecision } from './halfPrecision.js';
import { exportedWeights } from './mlp.js';
import type { OnnxModel, Port } from './onnxModel.js';
import {
  defaultMinimumCosine,
  type ExportOptions,
  type ExportResult,
  type ExportSource,
  requireTransformersJs,
  versionsOf,
} from './options.js';
import { largestValue, largestValueModel } from './overflow.js';
import { type Features, frugalOptions, type Parity, type Precision } from './parity.js';
import { jointPart, type Part, towerParts, transformersJsFolder } from './parts.js';
import { quantized } from './quantize.js';
import { embeddedSamples, type Samples } from './samples.js';
import { Staging } from './staging.js';
import { transformersJsConfig, writeTransformersJsFiles } from './transformersjs.js';
import { describe, measure, optimize, requireHalf } from './verify.js';

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
 * where a file exists; for a provider that can't be started; for an opset or IR version out of range; for a weight
 * that float16 can't hold
 */
export async function exportOnnx(source: ExportSource, options: ExportOptions): Promise<ExportResult> {
  const { out, vocabulary, layout = 'towers', report = () => {} } = options;
  const precisions = new Set<Precision>(options.precisions ?? ['fp32']);
  const { opset, irVersion } = versionsOf(options);
  const { config } = source;
  if (precisions.size === 0) throw new UserError('no precision to export: name fp32, fp16 or int8');
  if (vocabulary !== undefined) requireFit(new Tokenizer(vocabulary), config, 2);
  if (layout === 'transformersjs') requireTransformersJs(config, vocabulary);
  // Before a large model is written: what was asked for must be there.
  await (await createEngine('onnx', options.provider, report, options.providerOptions)).dispose();

  const base = basename(out);
  const manifest = base + MANIFEST;
  const parts = [...towerParts(base), ...(layout === 'transformersjs' ? [jointPart(base)] : [])];
  const staging = new Staging(out, options.overwrite ?? false);
  try {
    writeCompanions(staging, config, vocabulary);
    if (layout === 'transformersjs') {
      writeTransformersJsFiles(staging, transformersJsFolder(base), config, vocabulary!);
    }
    for (const name of [...staging.names, manifest]) staging.requireFree(name);
    for (const part of parts) for (const p of precisions) staging.requireFree(part.fileName(p));

    const samples = options.samples ?? embeddedSamples(config, vocabulary);
    const expected = await expectedFeatures(source, samples);
    await source.release?.();
    const weights = exportedWeights(source.tensors);
    const written: WrittenGraph[] = [];
    for (const part of parts) {
      const model = await assemble(part.record(config, opset), weights);
      for (const precision of precisions) {
        const graph = await writeGraph(
          staging,
          part,
          model,
          precision,
          samples,
          expected,
          options,
          irVersion,
        );
        for (const entry of graph.parity) report(describe(entry));
        written.push(graph);
      }
    }
    if (layout === 'transformersjs') {
      const external = written.filter(({ isExternal }) => isExternal).map(({ file }) => basename(file));
      staging.writeJson(`${transformersJsFolder(base)}/config.json`, transformersJsConfig(config, external));
    }
    const parity = written.flatMap((graph) => graph.parity);
    staging.writeJson(manifest, {
      format: 1,
      opset,
      irVersion,
      graphs: written.map(({ file, precision, inputs, outputs }) => ({ file, precision, inputs, outputs })),
      parity,
      files: staging.files,
      model: config,
      logitScale: readValues(source.tensors.get('logit_scale')!)[0],
      versions: { 'cn-clip': version, 'onnxruntime-node': installedVersion('onnxruntime-node') },
    });
    return { files: staging.publish(manifest), parity };
  } catch (error) {
    staging.discard();
    throw error;
  }
}

interface WrittenGraph {
  file: string;
  precision: Precision;
  inputs: object[];
  outputs: object[];
  isExternal: boolean;
  parity: Parity[];
}

/** Writes a graph in one precision, checks it and compares it with the model. */
async function writeGraph(
  staging: Staging,
  part: Part,
  model: OnnxModel,
  precision: Precision,
  samples: Samples,
  expected: Features,
  { minimumCosine, externalData, optimize: isOptimized, provider = 'cpu', providerOptions }: ExportOptions,
  irVersion: number,
): Promise<WrittenGraph> {
  const file = part.fileName(precision);
  const { model: converted, halfValues } = inPrecision(model, precision);
  const encoding = writeModel(staging, part, file, converted, irVersion, externalData);
  checkOnnxFile(staging.path(file));
  const threshold = minimumCosine?.[precision] ?? defaultMinimumCosine[precision];
  const running = provider === 'cpu' ? frugalOptions() : sessionOptions(provider, providerOptions);
  const parity = await measure(staging, part, precision, samples, expected, threshold, running);
  if (halfValues !== undefined) {
    const scratch = `${file}.largest`;
    staging.write(scratch, encodeOnnx(largestValueModel(converted, halfValues), encoding));
    const largest = await largestValue(staging.path(scratch), samples, part.names);
    staging.remove(scratch);
    requireHalf(largest, file, parity);
  }
  if (isOptimized && !part.isJoint) await optimize(staging, file);
  return {
    file,
    precision,
    inputs: converted.inputs.map(describePort),
    outputs: converted.outputs.map(describePort),
    isExternal: encoding.external !== undefined,
    parity,
  };
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
  const size = pixels.length / images;
  return {
    image: await inParts(rangesOf(images, BATCH), width, (begin, end) =>
      source.encodeImages(pixels.subarray(begin * size, end * size), end - begin),
    ),
    text: await inParts(rangesOf(texts, BATCH), width, (begin, end) =>
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
