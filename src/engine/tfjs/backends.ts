import * as tf from '@tensorflow/tfjs-core';
import { messageOf } from '../../errors.js';
import { isInstalled } from '../../io/installed.js';
import { registerGradients } from '../../nn/gradients.js';

/** Native TensorFlow.js backends, the fastest first. Both register the backend name `tensorflow`. */
const nativePackages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

/** Imports a native package. It brings all of TensorFlow.js, which registers its own gradients: ours go back in. */
async function importNative(name: string): Promise<void> {
  try {
    await import(name);
  } finally {
    registerGradients();
  }
}

/**
 * Loads the best installed TensorFlow.js backend: tfjs-node-gpu, tfjs-node, or the one in plain JavaScript.
 *
 * @param warn told why an installed native package could not be used
 * @returns the backend's name for `tf.setBackend`
 */
export async function loadBackend(warn: (message: string) => void): Promise<string> {
  for (const name of nativePackages) {
    if (!isInstalled(name)) continue;
    try {
      await importNative(name);
      return 'tensorflow';
    } catch (error) {
      const reason = messageOf(error).split('\n')[0];
      warn(`${name} is installed but can't be loaded (${reason}); its install script fetches libtensorflow`);
    }
  }
  // Keeps the backend from advertising tfjs-node on the terminal.
  tf.enableProdMode();
  await import('@tensorflow/tfjs-backend-cpu');
  return 'cpu';
}

/** Whether tfjs-node-gpu is installed, loads and sees a GPU. */
export async function seesGpu(): Promise<boolean> {
  if (!isInstalled(nativePackages[0])) return false;
  try {
    await importNative(nativePackages[0]);
    tf.setBackend('tensorflow');
    return (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
  } catch {
    return false;
  }
}
