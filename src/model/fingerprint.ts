import { createHash } from 'node:crypto';
import type { Tokenizer } from '../text/tokenizer.js';
import type { DualEncoder } from './dualEncoder.js';

/** SHA-256 of a model's config, its weights and its vocabulary, whatever file they came from. */
export function fingerprintOf(model: DualEncoder, tokenizer: Tokenizer, contextLength: number): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([model.config, tokenizer.vocabulary, contextLength]));
  model.addTo(hash);
  return hash.digest('hex');
}

/** SHA-256 of anything that JSON can write: of what features depend on beside a model's fingerprint. */
export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
