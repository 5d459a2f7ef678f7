import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { holdsWeights, isDirectory } from '../checkpoint/files.js';
import { preprocessorConfig } from '../checkpoint/huggingfaceConfig.js';
import { explainIssues } from '../config/explain.js';
import { UserError } from '../errors.js';
import { readJson } from '../io/json.js';
import { MAX_TRANSFER_BYTES, RangedFile } from '../io/readFile.js';
import { type ModelConfig, parseModelConfig } from '../model/config.js';
import { type Precision, precisions } from './parity.js';
import { towerParts } from './parts.js';

/** Ending of the file that says what an export holds; it is written last. */
export const MANIFEST = '.manifest.json';
const VOCABULARY = 'vocab.txt';
const PREPROCESSING = 'preprocessor_config.json';

/** A file as a manifest lists it. */
export const listedFileSchema = z.object({
  /** relative to the manifest's folder */
  name: z.string(),
  bytes: z.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type ListedFile = z.infer<typeof listedFileSchema>;

const manifestSchema = z.object({
  format: z.literal(1),
  files: z.array(listedFileSchema).max(1000),
  model: z.unknown(),
  logitScale: z.number().optional(),
});

/** What `cn-clip export onnx` wrote, as its manifest says. */
export interface ExportedFiles {
  /** folder and beginning of the files' names */
  prefix: string;
  manifest: string;
  config: ModelConfig;
  /** the parameter, of which manifests of earlier versions say nothing */
  logitScale: number | undefined;
  /** in which both towers are there */
  precisions: Precision[];
  files: ReadonlyMap<string, ListedFile>;
}

/**
 * The prefix of the export that a location names: the prefix itself, its manifest, or a folder with one export and no
 * weights of a checkpoint. Undefined where it names none.
 *
 * @throws UserError for a folder with several, for what is only a part of an export, and for a name that is beside some
 */
export function findExport(location: string): string | undefined {
  if (isDirectory(location)) return exportIn(location);
  if (location.endsWith(MANIFEST)) return location.slice(0, -MANIFEST.length);
  if (existsSync(location + MANIFEST)) return location;
  const isPart = /\.onnx(\.extra_file)?$/.test(location);
  if (existsSync(location) && !isPart) return undefined;
  const folder = dirname(location);
  const beside = isDirectory(folder) ? prefixesIn(folder, readdirSync(folder)) : [];
  if (isPart) {
    const prefix = beside.find((each) => location.startsWith(`${each}.`));
    const remedy =
      prefix === undefined
        ? 'export the model with cn-clip export onnx, and name its prefix'
        : `name its prefix, ${prefix}`;
    throw new UserError(`${location} is one file, and an export has several: ${remedy}`);
  }
  // Without a folder it may be the name of an official model.
  if (beside.length === 0 || folder === '.') return undefined;
  throw new UserError(`${location} does not exist; exported there: ${shownOf(beside)}`);
}

function exportIn(folder: string): string | undefined {
  const names = readdirSync(folder);
  if (holdsWeights(names)) return undefined;
  const prefixes = prefixesIn(folder, names);
  if (prefixes.length > 1) {
    throw new UserError(`${folder} holds several exports: name one of ${shownOf(prefixes)}`);
  }
  if (prefixes.length === 0 && names.some((name) => name.endsWith('.onnx'))) {
    throw new UserError(
      `${folder} has ONNX files without the manifest (PREFIX${MANIFEST}) that cn-clip export onnx writes beside them: ` +
        'export the model again',
    );
  }
  return prefixes[0];
}

function prefixesIn(folder: string, names: readonly string[]): string[] {
  const found = names.filter((name) => name.endsWith(MANIFEST)).sort();
  return found.map((name) => join(folder, name.slice(0, -MANIFEST.length)));
}

function shownOf(prefixes: readonly string[]): string {
  return prefixes.slice(0, 5).join(', ');
}

/** The prefix that `findExport` gives. @throws UserError where nothing was exported there, or as it */
export function requireExport(location: string): string {
  const prefix = findExport(location);
  if (prefix !== undefined) return prefix;
  throw new UserError(`${location} names no exported files: write them with cn-clip export onnx`);
}

/** Reads the manifest of an export. @throws UserError where it is missing, damaged or no manifest */
export function openExport(prefix: string): ExportedFiles {
  const manifest = prefix + MANIFEST;
  const parsed = manifestSchema.safeParse(readJson(manifest));
  if (!parsed.success) {
    throw new UserError(`${manifest} is no manifest of cn-clip export onnx: ${explainIssues(parsed.error)}`);
  }
  const files = new Map(parsed.data.files.map((file) => [file.name, file]));
  const parts = towerParts(basename(prefix));
  const config = parseModelConfig(parsed.data.model, manifest);
  const exported: ExportedFiles = {
    prefix,
    manifest,
    config,
    logitScale: parsed.data.logitScale,
    precisions: precisions.filter((precision) => parts.every((part) => files.has(part.fileName(precision)))),
    files,
  };
  requirePreprocessing(exported);
  return exported;
}

/** Names of a graph and, where it has one, of the file with its weights, as the manifest lists them. */
export function graphFiles({ prefix, files }: ExportedFiles, graph: string): string[] {
  const [{ externalName }] = towerParts(basename(prefix));
  return [graph, externalName(graph)].filter((name) => files.has(name));
}

/** Bytes of these files. */
export function graphBytes(exported: ExportedFiles, graph: string): number {
  return graphFiles(exported, graph).reduce((sum, name) => sum + exported.files.get(name)!.bytes, 0);
}

/** vocab.txt of an export, where it has one. @throws UserError where it is missing, or was changed */
export function vocabularyOfExport({ prefix, manifest, files }: ExportedFiles): string | undefined {
  if (!files.has(VOCABULARY)) return undefined;
  requireUnchanged(dirname(prefix), files, [VOCABULARY], manifest);
  return join(dirname(prefix), VOCABULARY);
}

/** The precision that is asked for, or else fp32, or the only one. @throws UserError where it is missing */
export function choosePrecision(
  { manifest, precisions: there }: ExportedFiles,
  asked: Precision | undefined,
): Precision {
  const chosen = asked ?? (there.length === 1 ? there[0] : 'fp32');
  if (there.includes(chosen)) return chosen;
  if (there.length === 0) throw new UserError(`${manifest} lists no towers: export the model again`);
  throw new UserError(
    `${manifest} lists towers in ${there.join(', ')}, none in ${chosen}: choose with --precision, or export ${chosen}, too`,
  );
}

/**
 * Holds files to what the manifest says of them.
 *
 * @returns their entries
 * @throws UserError naming one that is missing or was changed
 */
export function requireUnchanged(
  folder: string,
  listed: ReadonlyMap<string, ListedFile>,
  names: readonly string[],
  manifest: string,
): ListedFile[] {
  return names.map((name) => {
    const expected = listed.get(name);
    const path = join(folder, name);
    if (expected === undefined) throw new UserError(`${manifest} does not list ${name}`);
    if (!existsSync(path)) {
      throw new UserError(`${path} is missing, which ${manifest} lists: export it again`);
    }
    const found = measureFile(path);
    if (found.bytes === expected.bytes && found.sha256 === expected.sha256) return expected;
    const difference =
      found.bytes === expected.bytes ? 'another SHA-256' : `${found.bytes} bytes, expected ${expected.bytes}`;
    throw new UserError(`${path} is not the file that ${manifest} lists (${difference}): export it again`);
  });
}

/** Size and SHA-256 of a file, which is read in pieces. */
export function measureFile(path: string): { bytes: number; sha256: string } {
  const file = new RangedFile(path);
  const hash = createHash('sha256');
  for (let at = 0; at < file.size; at += MAX_TRANSFER_BYTES) {
    hash.update(file.read(at, Math.min(MAX_TRANSFER_BYTES, file.size - at)));
  }
  return { bytes: file.size, sha256: hash.digest('hex') };
}

/** @throws UserError where pictures are to be prepared in another way than here */
function requirePreprocessing({ prefix, manifest, config, files }: ExportedFiles): void {
  requireUnchanged(dirname(prefix), files, [PREPROCESSING], manifest);
  const path = join(dirname(prefix), PREPROCESSING);
  if (JSON.stringify(readJson(path)) === JSON.stringify(preprocessorConfig(config))) return;
  throw new UserError(
    `${path} asks for another preprocessing than the reference's, which is the only one here`,
  );
}
