import { UserError } from '../errors.js';
import type { Engine } from './engine.js';
import { OnnxEngine } from './onnx/engine.js';
import { type ProviderOptions, requireTaken } from './onnx/sessionOptions.js';
import { loadBackend, seesGpu } from './tfjs/backends.js';
import { TfjsEngine } from './tfjs/engine.js';

export const engineNames = ['onnx', 'tfjs', 'auto'] as const;
export type EngineName = (typeof engineNames)[number];

/**
 * Starts an engine.
 *
 * @param name `onnx` (the default: ONNX Runtime), `tfjs` (the best installed TensorFlow.js backend), or `auto`
 *   (tfjs where tfjs-node-gpu is installed and sees a GPU, onnx elsewhere)
 * @param provider execution provider of the onnx engine
 * @param warn told what the user should know of the choice
 * @param providerOptions what the provider is told
 * @throws UserError for an unknown engine, a provider that is not there, or options that it does not take
 */
export async function createEngine(
  name: string = 'onnx',
  provider: string = 'cpu',
  warn: (message: string) => void = console.warn,
  providerOptions: ProviderOptions = {},
): Promise<Engine> {
  switch (name) {
    case 'auto':
      return createEngine((await seesGpu()) ? 'tfjs' : 'onnx', provider, warn, providerOptions);
    case 'onnx':
      return OnnxEngine.start(provider, providerOptions);
    case 'tfjs':
      if (provider !== 'cpu') {
        throw new UserError(
          `provider '${provider}' is one of the onnx engine; TensorFlow.js uses what is installed`,
        );
      }
      requireTaken(['cpu'], providerOptions);
      return new TfjsEngine(await loadBackend(warn));
    default:
      throw new UserError(`unknown engine '${name}', expected one of ${engineNames.join(', ')}`);
  }
}
