import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { messageOf, UserError } from '../errors.js';
import { complaint, issuesOf, pathOf } from './explain.js';

/** One setting of a schema: where it stands in the YAML file, and so what its flag is called. */
interface Setting {
  path: string[];
  schema: z.ZodType;
  description: string;
  defaultValue: unknown;
}

/** Adds a flag for every setting of a schema: `stage1.learningRate` becomes `--stage1.learning-rate`. */
export function addSettings(command: Command, schema: z.ZodObject): Command {
  for (const { path, schema: kind, description, defaultValue } of settings(schema)) {
    const name = path.map(kebab).join('.');
    const suffix = defaultValue === undefined ? '' : ` (default: ${asGiven(defaultValue)})`;
    const flag = kind instanceof z.ZodBoolean ? `--${name} [boolean]` : `--${name} <${placeholder(kind)}>`;
    command.option(flag, description + suffix);
  }
  return command;
}

/**
 * Settings as the command runs with them: the schema's defaults, overridden by the YAML file, overridden by flags.
 *
 * @param file YAML file, if one was given
 * @param flags what commander parsed; keys that are no settings are left alone
 * @throws UserError naming the file and line, or the flag, with what was expected
 */
export function resolveSettings<S extends z.ZodObject>(
  schema: S,
  file: string | undefined,
  flags: Record<string, unknown>,
): z.infer<S> {
  const source = file === undefined ? undefined : readYaml(file);
  const values: unknown = structuredClone(source?.values ?? {});
  fillSections(schema, values as Record<string, unknown>);
  const fromFlags = new Set<string>();
  for (const { path, schema: kind } of settings(schema)) {
    const flag = flags[attribute(path)];
    if (flag === undefined) continue;
    assign(values as Record<string, unknown>, path, parseFlag(kind, flag));
    fromFlags.add(path.join('.'));
  }
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const complaints = issuesOf(result.error, (name) => fromFlags.has(name)).map((issue) => {
    const path = pathOf(issue);
    const name = path.join('.');
    const flag = `--${path.map(kebab).join('.')}`;
    // One of a list that was given as text is the flag's, too.
    const given = path.findIndex((_, i) => fromFlags.has(path.slice(0, i + 1).join('.')));
    if (given >= 0)
      return `--${path
        .slice(0, given + 1)
        .map(kebab)
        .join('.')}: ${complaint(issue)}`;
    if (source === undefined) return `${name}: ${complaint(issue)} (flag ${flag})`;
    return `${file}:${source.lineOf(path)}: ${name}: ${complaint(issue)}`;
  });
  throw new UserError(complaints.join('\n'));
}

/** Reads a YAML file. @throws UserError naming file and line. */
function readYaml(file: string): { values: object; lineOf: (path: string[]) => number } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`config ${file} can't be read: ${messageOf(error)}`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    const [error] = document.errors;
    const line = error.linePos?.[0].line ?? 1;
    throw new UserError(`${file}:${line}: not valid YAML: ${error.message.split('\n')[0]}`);
  }
  if (!isMap(document.contents)) throw new UserError(`${file}:1: expected settings as 'name: value' lines`);
  const lineOf = (path: string[]): number => {
    // A missing setting has no line of its own: point at what should hold it.
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as
        | { range?: [number, number, number] }
        | undefined;
      if (node?.range) return lines.linePos(node.range[0]).line;
    }
    return 1;
  };
  try {
    return { values: document.toJS() as object, lineOf };
  } catch (error) {
    // Aliases of aliases that would fill the memory.
    throw new UserError(`${file}: not valid YAML: ${messageOf(error)}`);
  }
}

function settings(schema: z.ZodObject, prefix: string[] = []): Setting[] {
  return Object.entries(schema.shape).flatMap(([name, field]) => {
    const path = [...prefix, name];
    let inner = field as z.ZodType;
    let defaultValue: unknown;
    const description = inner.description;
    let text = description;
    while (
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodPrefault
    ) {
      if (!(inner instanceof z.ZodOptional)) defaultValue = inner.def.defaultValue;
      inner = inner.def.innerType as z.ZodType;
      text ??= inner.description;
    }
    if (inner instanceof z.ZodObject) return settings(inner, path);
    return [{ path, schema: inner, description: text ?? '', defaultValue }];
  });
}

/** Gives missing sections an empty object, so that complaints name the settings in them. */
function fillSections(schema: z.ZodObject, values: Record<string, unknown>): void {
  for (const [name, field] of Object.entries(schema.shape)) {
    if (field instanceof z.ZodObject) values[name] ??= {};
  }
}

/** A value as its flag takes it. */
function asGiven(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value);
}

function placeholder(schema: z.ZodType): string {
  if (schema instanceof z.ZodEnum) return schema.options.join('|');
  if (schema instanceof z.ZodNumber) return 'number';
  return 'value';
}

/** Turns a flag's text into the kind of value that the schema checks. */
function parseFlag(schema: z.ZodType, flag: unknown): unknown {
  if (typeof flag !== 'string') return flag;
  if (schema instanceof z.ZodNumber && flag.trim() !== '' && !Number.isNaN(Number(flag))) return Number(flag);
  if (schema instanceof z.ZodBoolean) return flag === 'true' ? true : flag === 'false' ? false : flag;
  return flag;
}

function assign(target: Record<string, unknown>, path: string[], value: unknown): void {
  const [head, ...rest] = path;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  if (typeof target[head] !== 'object' || target[head] === null) target[head] = {};
  assign(target[head] as Record<string, unknown>, rest, value);
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The name under which commander stores a flag: camel case, which keeps the dots. */
function attribute(path: string[]): string {
  return path
    .map(kebab)
    .join('.')
    .split('-')
    .reduce((name, word) => name + word[0].toUpperCase() + word.slice(1));
}
