import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Graph } from '../graph.js';
import type { RecorderKernel } from './kernel.js';
import { product } from './matrix.js';
import { reshapeTo } from './shapes.js';

interface Geometry {
  stride: number;
  padding: number;
  /** of the result */
  shape: number[];
}

const geometryOf = (attrs: Record<string, unknown>) => attrs as unknown as Geometry;

const convolution: RecorderKernel = (graph, { inputs: { x, weight, bias }, attrs }) => {
  const { stride, padding, shape } = geometryOf(attrs);
  return graph.emit('Conv', bias === undefined ? [x, weight] : [x, weight, bias], shape, x.dtype, {
    kernel_shape: weight.shape.slice(2),
    strides: [stride, stride],
    pads: around(padding),
  });
};

/**
 * With stride 1 this is a convolution with the weight mirrored and its channels exchanged, up to five times as fast
 * as ConvTranspose on large images.
 */
const inputGradient: RecorderKernel = (graph, { inputs: { dy, weight }, attrs }) => {
  const { stride, padding, shape } = geometryOf(attrs);
  const [, , rows, columns] = weight.shape;
  if (stride > 1) {
    const rest = (axis: number, size: number) =>
      shape[axis] + 2 * padding - size - (dy.shape[axis] - 1) * stride;
    return graph.emit('ConvTranspose', [dy, weight], shape, dy.dtype, {
      kernel_shape: [rows, columns],
      strides: [stride, stride],
      pads: around(padding),
      output_padding: [rest(2, rows), rest(3, columns)],
    });
  }
  const first = graph.integers(-1, -1);
  const beforeFirst = graph.integers(-rows - 1, -columns - 1);
  const mirrored =
    rows * columns === 1
      ? weight
      : graph.emit(
          'Slice',
          [weight, first, beforeFirst, graph.integers(2, 3), graph.integers(-1, -1)],
          weight.shape,
          weight.dtype,
        );
  const [top, left] = [rows - 1 - padding, columns - 1 - padding];
  return graph.emit('Conv', [dy, exchanged(graph, mirrored)], shape, dy.dtype, {
    kernel_shape: [rows, columns],
    pads: [top, left, top, left],
  });
};

/**
 * For each place of the kernel, the product of dy with the pixels that this place met, summed over the batch. A Conv
 * with batch and channels exchanged needs one node, but three to ten times as long.
 *
 * The sum over the batch is either one of products, or one product of matrices in which the channels are moved to the
 * front: whichever moves less memory.
 */
const weightGradient: RecorderKernel = (graph, { inputs: { x, dy }, attrs }) => {
  const { stride, padding, shape } = geometryOf(attrs);
  const [outputs, inputs, rows, columns] = shape;
  const [batch, , height, width] = dy.shape;
  const pixels = height * width;
  const sumsProducts = outputs * inputs < (outputs + inputs) * pixels;
  const channelsFirst = (image: TensorInfo) => (sumsProducts ? image : exchanged(graph, image));
  const flat = (image: TensorInfo, channels: number) =>
    reshapeTo(graph, image, sumsProducts ? [batch, channels, pixels] : [channels, batch * pixels]);
  const image = padded(graph, channelsFirst(x), padding);
  const gradient = flat(channelsFirst(dy), outputs);
  const places: TensorInfo[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const met = everyNth(graph, image, [row, column], [height, width], stride);
      const products = product(graph, gradient, flat(met, inputs), false, true);
      const sum = sumsProducts
        ? graph.emit('ReduceSum', [products, graph.integers(0)], [outputs, inputs], x.dtype, { keepdims: 0 })
        : products;
      places.push(reshapeTo(graph, sum, [outputs, inputs, 1]));
    }
  }
  const all =
    places.length === 1
      ? places[0]
      : graph.emit('Concat', places, [outputs, inputs, rows * columns], x.dtype, { axis: 2 });
  return reshapeTo(graph, all, shape);
};

const averagePooling: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const size = attrs.size as number;
  const [batch, channels, height, width] = x.shape;
  return graph.emit('AveragePool', [x], [batch, channels, height / size, width / size], x.dtype, {
    kernel_shape: [size, size],
    strides: [size, size],
  });
};

/** Resize takes a fifth of the time of Expand. */
const repeatPixels: RecorderKernel = (graph, { inputs: { x }, attrs }) => {
  const size = attrs.size as number;
  const [batch, channels, height, width] = x.shape;
  const scales = graph.constant('float32', [4], Float32Array.of(1, 1, size, size));
  return graph.emit('Resize', [x, '', scales], [batch, channels, height * size, width * size], x.dtype, {
    mode: 'nearest',
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'floor',
  });
};

/** ONNX lists the padding of all beginnings, then of all ends. */
const around = (padding: number) => [padding, padding, padding, padding];

/** The first two axes, batch and channels or output and input, exchanged. */
function exchanged(graph: Graph, x: TensorInfo): TensorInfo {
  const [first, second, ...rest] = x.shape;
  return graph.emit('Transpose', [x], [second, first, ...rest], x.dtype, { perm: [1, 0, 2, 3] });
}

function padded(graph: Graph, x: TensorInfo, padding: number): TensorInfo {
  if (padding === 0) return x;
  const [first, second, height, width] = x.shape;
  const pads = graph.integers(0, 0, padding, padding, 0, 0, padding, padding);
  return graph.emit('Pad', [x, pads], [first, second, height + 2 * padding, width + 2 * padding], x.dtype);
}

/** Every `step`-th pixel of an image from `begin` on, `size` of them along each side. */
function everyNth(
  graph: Graph,
  x: TensorInfo,
  begin: [number, number],
  size: [number, number],
  step: number,
): TensorInfo {
  const [first, second, height, width] = x.shape;
  if (step === 1 && height === size[0] && width === size[1]) return x;
  const ends = begin.map((first, axis) => first + (size[axis] - 1) * step + 1);
  return graph.emit(
    'Slice',
    [x, graph.integers(...begin), graph.integers(...ends), graph.integers(2, 3), graph.integers(step, step)],
    [first, second, ...size],
    x.dtype,
  );
}

/** Operations of src/nn/convolution.ts; elsewhere they are compositions. */
export const convolutions: Record<string, RecorderKernel> = {
  Convolution: convolution,
  ConvolutionInputGradient: inputGradient,
  ConvolutionWeightGradient: weightGradient,
  AveragePooling: averagePooling,
  RepeatPixels: repeatPixels,
};
