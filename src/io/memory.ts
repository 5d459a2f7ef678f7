import { totalmem } from 'node:os';

/** Bytes of memory that this process may use at most. */
export function memoryThere(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
