export interface Similarities {
  /** [images, texts] */
  cosines: Float32Array;
  /** softmax over the texts of exp(logit_scale) · cosine, [images, texts] */
  probabilities: Float32Array;
}

/**
 * Cosines of every image with every text and, for each image, the probability of each text as in CLIP's zero-shot
 * classification.
 *
 * @param images unit features [images, dimension]
 * @param texts unit features [texts, dimension]
 * @param logitScale the model's logarithm of the inverse temperature
 */
export function similarities(
  images: Float32Array,
  texts: Float32Array,
  dimension: number,
  logitScale: number,
): Similarities {
  const textCount = texts.length / dimension;
  const cosines = new Float32Array((images.length / dimension) * textCount);
  const probabilities = new Float32Array(cosines.length);
  const scale = Math.exp(logitScale);
  for (let row = 0; row < cosines.length; row += textCount) {
    const image = (row / textCount) * dimension;
    for (let t = 0; t < textCount; t++) {
      let cosine = 0;
      for (let k = 0; k < dimension; k++) cosine += images[image + k] * texts[t * dimension + k];
      cosines[row + t] = cosine;
    }
    const largest = cosines.subarray(row, row + textCount).reduce((a, b) => Math.max(a, b), -1);
    const weights = Array.from(cosines.subarray(row, row + textCount), (cosine) =>
      Math.exp(scale * (cosine - largest)),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    probabilities.set(
      weights.map((weight) => weight / sum),
      row,
    );
  }
  return { cosines, probabilities };
}
