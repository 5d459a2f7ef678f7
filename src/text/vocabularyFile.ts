import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, UserError } from '../errors.js';

/** Far above any real vocabulary (the released models' takes 110 kB), far below what would fill the memory. */
const maxBytes = 64 << 20;

/**
 * The parts of a Hugging Face tokenizer.json that decide token ids, with the only values that agree with the
 * reference. Not read: max_input_chars_per_word, since the reference has one limit for every vocabulary.
 */
const tokenizerJson = z.object({
  normalizer: z.object({
    type: z.literal('BertNormalizer'),
    clean_text: z.literal(true),
    handle_chinese_chars: z.literal(true),
    lowercase: z.literal(true),
    strip_accents: z.literal([true, null]).optional(),
  }),
  pre_tokenizer: z.object({ type: z.literal('BertPreTokenizer') }),
  model: z.object({
    type: z.literal('WordPiece').optional(),
    unk_token: z.literal('[UNK]').optional(),
    continuing_subword_prefix: z.literal('##').optional(),
    vocab: z.record(z.string(), z.int().nonnegative()),
  }),
  added_tokens: z.array(z.object({ id: z.int(), content: z.string() })).optional(),
});

/**
 * Reads a vocabulary: a vocab.txt (UTF-8, the piece on line i has id i), a Hugging Face tokenizer.json of the uncased
 * BERT kind, or a folder with one of them (vocab.txt where it has both, as in a released model).
 *
 * @returns the file it was read from, and the pieces by id
 * @throws UserError where there is no such file, or it isn't UTF-8, JSON of that kind, or its ids have gaps
 */
export function readVocabularyFile(path: string): { file: string; vocabulary: string[] } {
  const file = findFile(path);
  const text = readText(file);
  return { file, vocabulary: file.endsWith('.json') ? parseTokenizerJson(file, text) : parseLines(text) };
}

function findFile(path: string): string {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) {
    throw new UserError(`${path}: no such file; expected a vocab.txt, a tokenizer.json or a folder with one`);
  }
  if (!status.isDirectory()) return path;
  const found = ['vocab.txt', 'tokenizer.json'].map((name) => join(path, name)).find(existsSync);
  if (found === undefined) throw new UserError(`${path}: holds neither a vocab.txt nor a tokenizer.json`);
  return found;
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > maxBytes) throw new Error(`${size} bytes are no vocabulary, at most ${maxBytes} are read`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    throw new UserError(`${file}: can't be read as UTF-8 text (${messageOf(error)})`);
  }
}

/** Lines end as Python's text files do: with a line feed, a carriage return or both. */
function parseLines(text: string): string[] {
  const lines = text.split(/\r\n|\n|\r/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function parseTokenizerJson(file: string, text: string): string[] {
  const { model, added_tokens = [] } = checkTokenizerJson(file, text);
  const entries = Object.entries(model.vocab);
  const vocabulary: string[] = new Array(entries.length);
  for (const [piece, id] of entries) {
    if (id >= entries.length || vocabulary[id] !== undefined) {
      throw new UserError(
        `${file}: model.vocab has ${entries.length} pieces, so their ids must be 0 to ${entries.length - 1}, ` +
          `each once; found ${JSON.stringify(piece)} with id ${id}`,
      );
    }
    vocabulary[id] = piece;
  }
  for (const { id, content } of added_tokens) {
    if (vocabulary[id] !== content) {
      throw new UserError(
        `${file}: added token ${JSON.stringify(content)} (id ${id}) is not in model.vocab; ` +
          'tokens added to a BERT vocabulary are not supported',
      );
    }
  }
  return vocabulary;
}

function checkTokenizerJson(file: string, text: string): z.infer<typeof tokenizerJson> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${file}: not JSON (${messageOf(error)})`);
  }
  const result = tokenizerJson.safeParse(content);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0];
  throw new UserError(
    `${file}: expected the tokenizer.json of an uncased Chinese BERT; ${path.join('.') || 'the file'}: ${message}`,
  );
}
