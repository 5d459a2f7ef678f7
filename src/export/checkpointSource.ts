import { createEngine } from '../engine/select.js';
import { bytesOf } from '../io/readFile.js';
import type { LazyTensor } from '../io/tensor.js';
import { fit, type LoadOptions, openParameters } from '../model/load.js';
import { Model } from '../model/model.js';
import { isTextParameter, isVisionParameter, parameterSpecs } from '../model/parameters.js';
import type { ExportSource } from './options.js';

/**
 * A checkpoint as something to export: weights are read one by one as they are needed, and only a tower that is
 * encoding is in memory as a whole.
 *
 * @throws UserError as `loadModel`
 */
export function checkpointSource(
  location: string,
  options: Pick<LoadOptions, 'config' | 'warn'> = {},
): ExportSource {
  const { warn = console.warn } = options;
  const { path, config, parameters } = openParameters(location, options.config, warn);
  const specs = parameterSpecs(config);
  const tensors = specs.map(({ name, shape }): [string, LazyTensor] => [
    name,
    { shape, dtype: 'F32', read: () => bytesOf(fit(parameters, name, shape, path, () => {})) },
  ]);

  let loaded: { isNeeded: (name: string) => boolean; model: Model } | undefined;
  const release = async () => {
    await loaded?.model.dispose();
    loaded = undefined;
  };
  const tower = async (isNeeded: (name: string) => boolean): Promise<Model> => {
    if (loaded?.isNeeded !== isNeeded) {
      await release();
      const engine = await createEngine('onnx', 'cpu', warn);
      const weights = specs
        .filter(({ name }) => isNeeded(name))
        .map(
          ({ name, shape }) =>
            [name, engine.tensor(shape, fit(parameters, name, shape, path, warn))] as const,
        );
      loaded = { isNeeded, model: new Model(engine, config, new Map(weights)) };
    }
    return loaded.model;
  };
  return {
    config,
    tensors: new Map(tensors),
    encodeImages: async (pixels, n) => (await tower(isVisionParameter)).encodeImages(pixels, n),
    encodeTexts: async (ids, n, length) => (await tower(isTextParameter)).encodeTexts(ids, n, length),
    release,
  };
}
