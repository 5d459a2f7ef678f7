import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { messageOf } from '../errors.js';
import { isInstalled } from '../io/installed.js';
import { installedVersion, version } from '../io/version.js';
import { findTrtexec } from './findTrtexec.js';
import { providerNames, takenOptions } from './onnx/sessionOptions.js';
import { createEngine } from './select.js';

/** Something that may be there or not. */
export interface Finding {
  name: string;
  isThere: boolean;
  /** where it is, or what is wrong */
  detail: string;
  /** what adds it, where it is missing */
  remedy?: string;
}

/** What this machine has of all that the package can use. */
export interface Diagnosis {
  versions: Record<string, string>;
  machine: { platform: string; threads: number; memoryGiB: number; freeMemoryGiB: number };
  /** engines and providers, each tried out */
  engines: Finding[];
  /** files that they need */
  libraries: Finding[];
}

const require = createRequire(import.meta.url);

const ADD_CUDA_PROVIDERS =
  'ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild --ignore-scripts=false onnxruntime-node';
const ADD_TFJS_GPU =
  'npm install @tensorflow/tfjs-node-gpu && npm rebuild --ignore-scripts=false @tensorflow/tfjs-node-gpu';
const ADD_TFJS_NODE = 'npm install --ignore-scripts=false @tensorflow/tfjs-node@4.22.0';

const providerRemedies: Record<(typeof providerNames)[number], string | undefined> = {
  cpu: undefined,
  cuda: `${ADD_CUDA_PROVIDERS}; CUDA 12 and cuDNN 9`,
  tensorrt: `${ADD_CUDA_PROVIDERS}; CUDA 12 and TensorRT 10`,
  webgpu: 'a GPU with its driver, and the Vulkan loader: apt-get install libvulkan1',
};

/** Libraries of the system by the beginning of their names. */
const systemLibraries = [
  { name: 'libcudart.so.12', remedy: 'apt-get install cuda-toolkit-12-8 (from NVIDIA)' },
  { name: 'libcublas.so.12', remedy: 'apt-get install cuda-toolkit-12-8 (from NVIDIA)' },
  { name: 'libcudnn.so.9', remedy: 'apt-get install libcudnn9-cuda-12 (from NVIDIA)' },
  { name: 'libnvinfer.so.10', remedy: 'apt-get install tensorrt (from NVIDIA)' },
  { name: 'libvulkan.so.1', remedy: 'apt-get install libvulkan1' },
];

/** Looks for engines, providers and their libraries, and tries each provider out on a small program. */
export async function diagnose(): Promise<Diagnosis> {
  return {
    versions: versions(),
    machine: {
      platform: `${process.platform} ${process.arch}`,
      threads: availableParallelism(),
      memoryGiB: inGiB(totalmem()),
      freeMemoryGiB: inGiB(freemem()),
    },
    engines: [...(await onnxProviders()), ...tensorflowPackages()],
    libraries: [
      ...providerLibraries(),
      ...(process.platform === 'linux' ? foundBySystem() : []),
      engineBuilder(),
    ],
  };
}

function versions(): Record<string, string> {
  const found: Record<string, string> = { 'cn-clip': version, node: process.versions.node };
  const packages = ['onnxruntime-node', '@tensorflow/tfjs-core', '@tensorflow/tfjs-node-gpu'];
  for (const name of packages) if (isInstalled(name)) found[name] = installedVersion(name);
  return { ...found, sharp: sharp.versions.sharp ?? 'unknown', libvips: sharp.versions.vips };
}

async function onnxProviders(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const provider of providerNames) {
    const name = `onnx (${provider})`;
    try {
      await (await createEngine('onnx', provider)).dispose();
      const options = takenOptions(provider);
      const detail = options.length === 0 ? 'works' : `works; options: ${options.join(', ')}`;
      findings.push({ name, isThere: true, detail });
    } catch (error) {
      findings.push({ name, isThere: false, detail: messageOf(error), remedy: providerRemedies[provider] });
    }
  }
  return findings;
}

/** The native packages by their files: loading one would change the engine of this process. */
function tensorflowPackages(): Finding[] {
  const findings: Finding[] = [
    {
      name: 'tfjs (cpu)',
      isThere: isInstalled('@tensorflow/tfjs-backend-cpu'),
      detail: 'plain JavaScript, slow',
    },
  ];
  for (const [name, remedy] of [
    ['@tensorflow/tfjs-node-gpu', `${ADD_TFJS_GPU}; CUDA 11.2 and cuDNN 8.1`],
    ['@tensorflow/tfjs-node', ADD_TFJS_NODE],
  ]) {
    if (!isInstalled(name)) {
      findings.push({ name: `tfjs (${name})`, isThere: false, detail: 'not installed', remedy });
      continue;
    }
    const library = join(
      dirname(require.resolve(`${name}/package.json`)),
      'deps',
      'lib',
      'libtensorflow.so.2',
    );
    const isThere = existsSync(library) || existsSync(library.replace('.so.2', '.2.dylib'));
    const detail = isThere ? library : `installed without libtensorflow (${library})`;
    findings.push({ name: `tfjs (${name})`, isThere, detail, ...(!isThere && { remedy }) });
  }
  return findings;
}

/** Providers of ONNX Runtime that are libraries of their own, beside its binding. */
function providerLibraries(): Finding[] {
  const root = join(dirname(require.resolve('onnxruntime-node/package.json')), 'bin');
  const files = existsSync(root)
    ? readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) =>
        path.includes(join(process.platform, process.arch)),
      )
    : [];
  return ['cuda', 'tensorrt'].map((provider) => {
    const name = `libonnxruntime_providers_${provider}.so`;
    const file = files.find((path) => path.endsWith(name));
    if (file !== undefined) return { name, isThere: true, detail: join(root, file) };
    return { name, isThere: false, detail: `not in ${root}`, remedy: ADD_CUDA_PROVIDERS };
  });
}

/** The program of TensorRT that cn-clip export tensorrt builds engines with. */
function engineBuilder(): Finding {
  try {
    return { name: 'trtexec', isThere: true, detail: findTrtexec() };
  } catch (error) {
    const remedy = 'apt-get install tensorrt (from NVIDIA)';
    return { name: 'trtexec', isThere: false, detail: messageOf(error), remedy };
  }
}

/** What the dynamic linker finds: its cache, and the folders of LD_LIBRARY_PATH. */
function foundBySystem(): Finding[] {
  const { stdout } = spawnSync('ldconfig', ['-p'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/sbin:/usr/sbin` },
  });
  const cached = new Map(
    [...(stdout ?? '').matchAll(/^\s*(\S+) .*=> (.+)$/gm)].map(([, name, path]) => [name, path]),
  );
  const folders = (process.env.LD_LIBRARY_PATH ?? '').split(':').filter((folder) => folder !== '');
  return systemLibraries.map(({ name, remedy }) => {
    const inFolder = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
    const path = inFolder ?? cached.get(name);
    if (path !== undefined) return { name, isThere: true, detail: path };
    return { name, isThere: false, detail: 'not found by the dynamic linker', remedy };
  });
}

function inGiB(bytes: number): number {
  return Number((bytes / 2 ** 30).toFixed(1));
}
