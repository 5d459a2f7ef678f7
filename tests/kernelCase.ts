import type { Tensor } from '@tensorflow/tfjs-core';
import type { DataType } from '../src/engine/engine.js';

type Shape = (number | string)[];

/** An input of a case; strings in the shape are the symbolic dimensions n and m. */
export interface CaseInput {
  shape: Shape;
  dtype: DataType;
  /** how to fill it: floats within [-1, 1), within [0.5, 1.5), on few values so that some are equal; or integers */
  values: 'signed' | 'positive' | 'coarse' | { below: number };
}

/** A function that both engines must compute alike. */
export interface KernelCase {
  /** the recorder's kernel that it is about */
  kernel: string;
  inputs: Record<string, CaseInput>;
  compute: (inputs: Record<string, Tensor>) => Tensor | Tensor[];
  /** no gradient is registered, or there is none */
  forwardOnly?: true;
  /** the sizes of n and m to run with; by default several, zero among them */
  sizes?: { n: number; m: number }[];
}

const input =
  (dtype: DataType, values: CaseInput['values']) =>
  (...shape: Shape): CaseInput => ({ shape, dtype, values });

export const float = input('float32', 'signed');
export const positive = input('float32', 'positive');
export const coarse = input('float32', 'coarse');
export const bool = input('bool', { below: 2 });
export const int = (below: number, ...shape: Shape) => input('int32', { below })(...shape);

/** A length as a plain number: TypeScript knows too little of a tensor's rank. */
export const sizeAt = (x: Tensor, axis: number): number => x.shape[axis];

/** One tensor x. */
export function unary(
  kernel: string,
  x: CaseInput,
  f: (x: Tensor) => Tensor | Tensor[],
  forwardOnly?: true,
): KernelCase {
  return { kernel, inputs: { x }, compute: ({ x }) => f(x), forwardOnly };
}

/** Products of every pair of transpositions, in two dimensions and batched. */
export function products(
  kernel: string,
  f: (a: Tensor, b: Tensor, tA: boolean, tB: boolean) => Tensor,
): KernelCase[] {
  const order = (transposed: boolean, rows: number | string, columns: number | string) =>
    transposed ? [columns, rows] : [rows, columns];
  return [false, true].flatMap((tA) =>
    [false, true].flatMap((tB): KernelCase[] => {
      const compute: KernelCase['compute'] = ({ a, b }) => f(a, b, tA, tB);
      return [
        { kernel, inputs: { a: float(...order(tA, 'n', 3)), b: float(...order(tB, 3, 'm')) }, compute },
        {
          kernel,
          inputs: { a: float('n', 2, ...order(tA, 'm', 3)), b: float('n', 2, ...order(tB, 3, 4)) },
          compute,
        },
      ];
    }),
  );
}
