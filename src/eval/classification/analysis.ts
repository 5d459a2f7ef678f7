import { type Predictions, topClasses } from './metrics.js';

/** How a class fares. */
export interface ClassResult {
  name: string;
  /** pictures of the class */
  samples: number;
  /** those whose most probable class is one of theirs */
  right: number;
  /** pictures that were taken for the class */
  predicted: number;
}

/** Pictures of one class that were taken for another. */
export interface Confusion {
  actual: number;
  predicted: number;
  count: number;
}

/** A picture whose most probable class is none of its own. */
export interface Mistake {
  image: number;
  predicted: number;
  /** of the predicted class */
  probability: number;
}

/** Every class, in order. */
export function classResults(predictions: Predictions, classNames: readonly string[]): ClassResult[] {
  const results = classNames.map((name) => ({ name, samples: 0, right: 0, predicted: 0 }));
  topClasses(predictions).forEach((top, image) => {
    const target = predictions.targets[image];
    for (const actual of target) {
      results[actual].samples++;
      if (target.includes(top)) results[actual].right++;
    }
    results[top].predicted++;
  });
  return results;
}

/**
 * How many pictures of each class (row) were taken for each (column): [classes, classes]. Of a picture with several
 * classes a right prediction counts for the predicted class, a wrong one for each of its classes.
 */
export function confusionMatrix(predictions: Predictions): Uint32Array {
  const { classCount, targets } = predictions;
  const matrix = new Uint32Array(classCount * classCount);
  topClasses(predictions).forEach((top, image) => {
    const actual = targets[image].includes(top) ? [top] : targets[image];
    for (const row of actual) matrix[row * classCount + top]++;
  });
  return matrix;
}

/** The pairs of classes that are confused most often, most first; of equal ones the first in the matrix. */
export function mostConfused(matrix: Uint32Array, classCount: number, limit: number): Confusion[] {
  const confusions: Confusion[] = [];
  matrix.forEach((count, i) => {
    const actual = Math.floor(i / classCount);
    const predicted = i % classCount;
    if (count > 0 && actual !== predicted) confusions.push({ actual, predicted, count });
  });
  return confusions.sort((a, b) => b.count - a.count).slice(0, limit);
}

/**
 * The mistakes that the model is surest of: the surest of each class, then the surest of each further pair of classes,
 * as far as there is room.
 */
export function surestMistakes(predictions: Predictions, limit: number): Mistake[] {
  const { probabilities, classCount, targets } = predictions;
  const mistakes: Mistake[] = [];
  topClasses(predictions).forEach((predicted, image) => {
    if (targets[image].includes(predicted)) return;
    mistakes.push({ image, predicted, probability: probabilities[image * classCount + predicted] });
  });
  mistakes.sort((a, b) => b.probability - a.probability || a.image - b.image);
  const ofClasses = firstOfEach(mistakes, ({ image }) => targets[image].join());
  const ofPairs = firstOfEach(mistakes, ({ image, predicted }) => `${targets[image].join()} ${predicted}`);
  return [...new Set([...ofClasses, ...ofPairs])].slice(0, limit);
}

function firstOfEach<T>(list: readonly T[], key: (item: T) => string): T[] {
  const seen = new Set<string>();
  return list.filter((item) => !seen.has(key(item)) && seen.add(key(item)) !== undefined);
}
