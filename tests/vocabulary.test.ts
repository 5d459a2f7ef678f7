import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer } from '../src/text/tokenizer.js';
import { buildVocabulary } from '../src/text/vocabulary.js';

const texts = ['一只Cat，cat!', '两只dogs cat', 'Δog 😀a', ' '];
const generous = { maxSize: 1000, minFrequency: 1 };

test('special tokens come first, then characters in code point order, then words by frequency', () => {
  assert.deepEqual(buildVocabulary(['ab ba ab 猫!', 'b猫 c'], { maxSize: 100, minFrequency: 1 }), [
    ...['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
    ...['!', 'a', '##a', 'b', '##b', 'c', '##c', '猫'],
    ...['ab', 'ba'],
  ]);
});

test('no text it was built from holds [UNK], nor any other of the same letters', () => {
  const tokenizer = new Tokenizer(buildVocabulary(texts, generous));
  for (const text of [...texts, 'gods act taco', '只一！'.replace('！', '!')]) {
    assert.ok(!tokenizer.encode(text, 52).includes(1), text);
  }
  assert.ok(tokenizer.encode('猫', 52).includes(1));
});

test('rare words are spelled', () => {
  const vocabulary = buildVocabulary(texts, { maxSize: 1000, minFrequency: 2 });
  assert.ok(vocabulary.includes('cat'));
  assert.ok(!vocabulary.includes('dogs'));
  const { length } = new Tokenizer(vocabulary).encodeBatch(['dogs cat'], 52);
  assert.equal(length, 2 + 4 + 1);
});

test('maxSize drops the least frequent words, and never a character', () => {
  const all = buildVocabulary(texts, generous);
  const characters = all.indexOf('cat');
  const smaller = buildVocabulary(texts, { maxSize: characters + 1, minFrequency: 1 });
  assert.deepEqual(smaller, all.slice(0, characters + 1));
  assert.equal(smaller.at(-1), 'cat');
  assert.throws(() => buildVocabulary(texts, { maxSize: characters - 1, minFrequency: 1 }), {
    name: 'UserError',
    message: new RegExp(`take ${characters} pieces: raise maxSize \\(${characters - 1}\\)`),
  });
});

test('the order of the texts does not matter', () => {
  assert.deepEqual(buildVocabulary([...texts].reverse(), generous), buildVocabulary(texts, generous));
});
