import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize } from '../nn/layers.js';

/**
 * The reference's loss of knowledge distillation: 1 − the mean cosine of a teacher's and the student's image features
 * [batch, width], not normalised. Student features of another width are interpolated to the teacher's.
 *
 * @param count float32 scalar, the batch size
 */
export function distillationLoss(teacher: Tensor2D, student: Tensor2D, count: Tensor): Tensor {
  const [from, to] = [student.shape[1], teacher.shape[1]];
  const fitted = from === to ? student : tf.matMul(student, interpolation(from, to));
  const cosines = tf.mul(l2Normalize(teacher), l2Normalize(fitted as Tensor2D));
  return tf.sub(1, tf.div(tf.sum(cosines), count));
}

/**
 * Linear interpolation of rows from one width to another as a matrix [from, to]. The reference interpolates features
 * bilinearly with align_corners = False; the number of rows stays, so what is left is linear.
 */
function interpolation(from: number, to: number): Tensor2D {
  const matrix = new Float32Array(from * to);
  for (let j = 0; j < to; j++) {
    const place = Math.max(0, ((j + 0.5) * from) / to - 0.5);
    const left = Math.floor(place);
    const right = Math.min(left + 1, from - 1);
    matrix[left * to + j] += 1 - (place - left);
    matrix[right * to + j] += place - left;
  }
  return tf.tensor2d(matrix, [from, to]);
}
