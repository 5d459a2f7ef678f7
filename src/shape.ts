/** More axes than any tensor of a model has. */
const MAX_AXES = 16;
/** Of the other axes of an empty tensor. */
const MAX_EMPTY_EXTENT = 2 ** 40;

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Whether a value is a whole number from 0 on that is exact. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/**
 * Whether a value from a file can be the shape of a tensor: whole numbers, not too many. How much they stand for, the
 * file's size decides; only where one is 0 the others are bounded here, since loops run over them.
 */
export function isShape(value: unknown): value is number[] {
  if (!Array.isArray(value) || value.length > MAX_AXES || !value.every(isCount)) return false;
  return !value.includes(0) || sizeOf(value.filter((length) => length > 0)) <= MAX_EMPTY_EXTENT;
}
