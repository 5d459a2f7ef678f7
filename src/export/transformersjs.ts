import { preprocessorConfig, toHuggingFaceConfig, tokenizerConfig } from '../checkpoint/huggingfaceConfig.js';
import type { ModelConfig, ViTConfig } from '../model/config.js';
import { Tokenizer } from '../text/tokenizer.js';
import type { Staging } from './staging.js';

/** Preprocessing and tokenizer as @huggingface/transformers reads them of a ChineseCLIP folder. */
export function writeTransformersJsFiles(
  staging: Staging,
  folder: string,
  config: ModelConfig,
  vocabulary: readonly string[],
): void {
  const json = (name: string, content: object) => staging.writeJson(`${folder}/${name}`, content);
  // It knows the class by its older name alone, which comes second.
  json('preprocessor_config.json', { ...preprocessorConfig(config), image_processor_type: undefined });
  json('tokenizer_config.json', {
    ...tokenizerConfig,
    model_max_length: config.text_max_position_embeddings,
  });
  json('tokenizer.json', tokenizerJson(new Tokenizer(vocabulary).vocabulary));
}

/**
 * The config.json of such a folder.
 *
 * @param external names of the graphs whose weights lie in a file of their own
 */
export function transformersJsConfig(config: ModelConfig, external: readonly string[]): object {
  const format = Object.fromEntries(external.map((name) => [name, true]));
  return {
    ...toHuggingFaceConfig(config as ViTConfig, 'float32'),
    'transformers.js_config': external.length === 0 ? undefined : { use_external_data_format: format },
  };
}

/** The tokenizer.json of an uncased BERT. */
function tokenizerJson(vocabulary: readonly string[]): object {
  const ids = new Map(vocabulary.map((piece, id) => [piece, id]));
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].filter((piece) => ids.has(piece));
  const token = (id: string, type: number) => ({ SpecialToken: { id, type_id: type } });
  const sequence = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
  const specialTokens = Object.fromEntries(
    ['[CLS]', '[SEP]'].map((id) => [id, { id, ids: [ids.get(id)], tokens: [id] }]),
  );
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content) => ({
      id: ids.get(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [token('[CLS]', 0), sequence('A', 0), token('[SEP]', 0)],
      pair: [token('[CLS]', 0), sequence('A', 0), token('[SEP]', 0), sequence('B', 1), token('[SEP]', 1)],
      special_tokens: specialTokens,
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 200,
      vocab: Object.fromEntries(ids),
    },
  };
}
