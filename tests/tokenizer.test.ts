import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { packageRoot } from '../src/io/packageRoot.js';
import { loadTokenizer, prepareText, Tokenizer } from '../src/text/tokenizer.js';

const fixtures = join(packageRoot, 'tests', 'fixtures', 'tokenizer');
const releasedVocabulary = join(packageRoot, '..', 'shared', 'vocab.txt');
const folder = mkdtempSync(join(tmpdir(), 'cn-clip-tokenizer-'));
after(() => rmSync(folder, { recursive: true }));

/** A vocabulary of 180 pieces and what the reference's tokenizer makes of difficult texts with it. */
const small: { vocabulary: string[]; cases: { text: string; ids: number[] }[] } = JSON.parse(
  readFileSync(join(fixtures, 'small.json'), 'utf8'),
);
const pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '猫', '##s', 'cat'];

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function refuses(path: string, message: RegExp): Promise<void> {
  await assert.rejects(loadTokenizer(path), { name: 'UserError', message });
}

/** The tokenizer.json that Hugging Face writes for an uncased BERT, with the parts given changed. */
function tokenizerJson(changes: { model?: object; normalizer?: object; added_tokens?: object[] }): string {
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    added_tokens: [{ id: 1, content: '[UNK]', special: true }],
    pre_tokenizer: { type: 'BertPreTokenizer' },
    ...changes,
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
      ...changes.normalizer,
    },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      ...changes.model,
    },
  });
}

test('token ids are those of the reference on texts with every kind of character', () => {
  const tokenizer = new Tokenizer(small.vocabulary);
  const [start, end] = ['[CLS]', '[SEP]'].map((name) => small.vocabulary.indexOf(name));
  assert.ok(small.cases.length >= 300);
  for (const { text, ids } of small.cases) {
    const encoded = tokenizer.encode(text, ids.length + 4);
    assert.deepEqual([...encoded], [start, ...ids, end, 0, 0], JSON.stringify(text));
    const { length, cut } = tokenizer.encodeBatch([text], ids.length + 4);
    assert.deepEqual([length, cut], [ids.length + 2, 0]);
  }
});

test('golden cases with the vocabulary of the released models', async (t) => {
  if (!existsSync(releasedVocabulary)) return t.skip(`no ${releasedVocabulary}`);
  const tokenizer = await loadTokenizer(releasedVocabulary);
  assert.equal(tokenizer.vocabularySize, 21128);
  type Case = { text: string; ids52: number[]; ids24: number[]; dataset_ids52: number[] };
  const cases: Case[] = JSON.parse(readFileSync(join(fixtures, 'golden.json'), 'utf8'));
  assert.equal(cases.length, 35);
  for (const { text, ids52, ids24, dataset_ids52 } of cases) {
    assert.deepEqual([...tokenizer.encode(text, 52)], ids52, text);
    assert.deepEqual([...tokenizer.encode(text, 24)], ids24, text);
    assert.deepEqual([...tokenizer.encode(prepareText(text), 52)], dataset_ids52, text);
  }
});

test('a text longer than the context loses its end, not its [SEP]', () => {
  const tokenizer = new Tokenizer(pieces);
  assert.deepEqual(tokenizer.encode('猫猫', 4), Int32Array.of(2, 4, 4, 3));
  assert.deepEqual(tokenizer.encode('猫猫猫', 4), Int32Array.of(2, 4, 4, 3));
  // The cut falls inside a word.
  assert.deepEqual([...tokenizer.encode('catss', 4)], [2, 6, 5, 3]);
  assert.deepEqual([...tokenizer.encode('cat', 2)], [2, 3]);
  for (const contextLength of [1, 2.5, Number.NaN]) {
    assert.throws(() => tokenizer.encode('', contextLength), {
      name: 'UserError',
      message: /context length/,
    });
  }
});

test('a batch is as long as its longest text', () => {
  const tokenizer = new Tokenizer(pieces);
  assert.deepEqual(tokenizer.encodeBatch(['cat', '', '猫s cats'], 52), {
    ids: Int32Array.of(2, 6, 3, 0, 0, 0, 2, 3, 0, 0, 0, 0, 2, 4, 1, 6, 5, 3),
    n: 3,
    length: 6,
    cut: 0,
  });
  const { ids, length, cut } = tokenizer.encodeBatch(['猫猫猫', '猫'], 4);
  assert.deepEqual({ ids: [...ids], length, cut }, { ids: [2, 4, 4, 3, 2, 4, 3, 0], length: 4, cut: 1 });
  assert.deepEqual(tokenizer.encodeBatch([], 52), { ids: new Int32Array(0), n: 0, length: 0, cut: 0 });
});

test('captions are lower-cased and their curly quotes straightened, once', () => {
  assert.equal(prepareText('“iPhone”和‘ＡＢＣ’'), '"iphone"和‘ａｂｃ’');
});

test('the vocabulary is read from vocab.txt, tokenizer.json or a folder, and writes back the same', async () => {
  const text = `${pieces.join('\n')}\n`;
  const path = file('vocab.txt', text);
  const tokenizer = await loadTokenizer(path);
  assert.deepEqual(tokenizer.vocabulary, pieces);
  assert.equal(`${tokenizer.vocabulary.join('\n')}\n`, text);
  assert.deepEqual(
    (await loadTokenizer(file('windows.txt', text.replaceAll('\n', '\r\n')))).vocabulary,
    pieces,
  );
  assert.deepEqual((await loadTokenizer(file('tokenizer.json', tokenizerJson({})))).vocabulary, pieces);
  assert.deepEqual((await loadTokenizer(folder)).vocabulary, pieces);
});

test('a blank line of vocab.txt keeps its id, of two equal lines the last counts', async () => {
  const tokenizer = await loadTokenizer(file('blank.txt', '[PAD]\n\u2028\n[UNK]\n[CLS]\n[SEP]\n猫\n\n猫\n'));
  assert.equal(tokenizer.vocabularySize, 8);
  assert.deepEqual([...tokenizer.encode('猫', 3)], [3, 7, 4]);
});

test('what is no vocabulary of an uncased BERT is refused with the reason', async () => {
  await refuses(join(folder, 'absent'), /absent: no such file/);
  await refuses(mkdtempSync(join(folder, 'empty-')), /neither a vocab.txt nor a tokenizer.json/);
  await refuses(file('binary.txt', Uint8Array.of(0x91, 0xff)), /binary.txt: can't be read as UTF-8/);
  await refuses(file('text.json', '{"model":'), /text.json: not JSON/);
  await refuses(file('nopad.txt', '[UNK]\n[CLS]\n[SEP]\n'), /nopad.txt: has no \[PAD\]/);
  await refuses(file('late.txt', '[UNK]\n[PAD]\n[CLS]\n[SEP]\n'), /late.txt: \[PAD\] has id 1/);
  for (const name of ['[UNK]', '[CLS]', '[SEP]']) {
    const others = pieces.filter((piece) => piece !== name);
    assert.throws(() => new Tokenizer(others), {
      name: 'UserError',
      message: new RegExp(`has no \\${name}`),
    });
  }
  await refuses(file('list.json', '[]'), /list.json: expected the tokenizer.json of an uncased Chinese BERT/);
  const cased = tokenizerJson({ normalizer: { lowercase: false } });
  await refuses(file('cased.json', cased), /normalizer.lowercase/);
  await refuses(file('bpe.json', tokenizerJson({ model: { type: 'BPE' } })), /model.type/);
  const gap = tokenizerJson({ model: { vocab: { '[PAD]': 0, '[UNK]': 2 } } });
  await refuses(
    file('gap.json', gap),
    /2 pieces, so their ids must be 0 to 1, each once; found "\[UNK\]" with id 2/,
  );
  const twice = tokenizerJson({ model: { vocab: { '[PAD]': 0, '[UNK]': 0 } } });
  await refuses(file('twice.json', twice), /found "\[UNK\]" with id 0/);
  const added = tokenizerJson({ added_tokens: [{ id: 7, content: '<image>' }] });
  await refuses(file('added.json', added), /"<image>" \(id 7\) is not in model.vocab/);
});
