import { availableParallelism } from 'node:os';
import { ThreadPool } from '../../io/threadPool.js';
import { sizeOf } from '../../shape.js';
import type { AdamWUpdate, DeviceTensor } from '../engine.js';
import { updateAdamW } from './adamw.js';
import type { ParameterArrays, Share } from './optimizerThread.js';
import { ArrayTensor, writable } from './tensors.js';

/** Values of a parameter from which on moving its arrays to a thread and back is worth it. */
const WORTH_MOVING = 2 ** 18;
/** AdamW is bound by memory, which a few threads occupy. */
const MAX_THREADS = 8;

/**
 * AdamW on all parameters at once. ONNX Runtime takes no shared memory, so the arrays of large parameters move to
 * threads, and back.
 */
export class Optimizer {
  private readonly threads: ThreadPool<Share, ParameterArrays[]>;
  private readonly helpers = Math.min(availableParallelism(), MAX_THREADS) - 1;

  constructor() {
    this.threads = new ThreadPool({
      size: this.helpers,
      module: new URL('./optimizerThread.js', import.meta.url),
      name: 'a thread of the optimizer',
    });
  }

  async update(updates: readonly AdamWUpdate[]): Promise<void> {
    const [own, ...others] = this.shares(updates);
    const answers = others.filter((share) => share.length > 0).map((share) => this.updateInThread(share));
    for (const { weight, gradient, moments, factors } of own) {
      const { first, second } = moments;
      updateAdamW(writable(weight), gradient.read(), writable(first), writable(second), factors);
    }
    await Promise.all(answers);
  }

  close(): Promise<void> {
    return this.threads.close('the engine was disposed of');
  }

  /** One share of the work for this thread, then one for each other; each parameter goes where least is to be done. */
  private shares(updates: readonly AdamWUpdate[]): AdamWUpdate[][] {
    const shares = Array.from({ length: 1 + this.helpers }, () => ({
      size: 0,
      updates: [] as AdamWUpdate[],
    }));
    const add = (share: (typeof shares)[number], update: AdamWUpdate) => {
      share.size += sizeOf(update.weight.shape);
      share.updates.push(update);
    };
    const movable = new Set(updates.filter(isWorthMoving));
    for (const update of updates) if (!movable.has(update)) add(shares[0], update);
    for (const update of [...movable].sort((a, b) => sizeOf(b.weight.shape) - sizeOf(a.weight.shape))) {
      const least = shares.reduce((least, other) => (other.size < least.size ? other : least));
      add(least, update);
    }
    return shares.map(({ updates }) => updates);
  }

  private async updateInThread(updates: readonly AdamWUpdate[]): Promise<void> {
    const tensors = updates.map((update) => tensorsOf(update) as ArrayTensor[]);
    const arrays = tensors.map((each) => each.map((tensor) => tensor.lend()));
    const request = { arrays, factors: updates.map(({ factors }) => factors) };
    const handedOver = arrays.flat().map(({ buffer }) => buffer);
    // One request for each thread, so all cost the same.
    const returned = await this.threads.ask(request, 1, handedOver);
    for (const [i, each] of tensors.entries()) {
      for (const [k, tensor] of each.entries()) tensor.data = returned[i][k];
    }
  }
}

function tensorsOf({ weight, gradient, moments: { first, second } }: AdamWUpdate): DeviceTensor[] {
  return [weight, gradient, first, second];
}

/** Whether a parameter is large, and its arrays are no parts of others. */
function isWorthMoving(update: AdamWUpdate): boolean {
  return (
    sizeOf(update.weight.shape) >= WORTH_MOVING &&
    tensorsOf(update).every((tensor) => tensor instanceof ArrayTensor && tensor.isMovable)
  );
}
