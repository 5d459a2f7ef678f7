import { UserError } from '../../errors.js';
import type { PickleValue } from '../../io/pickle.js';
import { byteLengthOf, type LazyTensors, readValues } from '../../io/tensor.js';
import { isBuffer, isVisionParameter } from '../../model/parameters.js';
import { isCount } from '../../shape.js';
import { isDecayed } from '../../train/adamw.js';
import type { OptimizerState, TrainingState } from '../trainingState.js';
import { TorchTensor } from './tensor.js';

type Dictionary = ReadonlyMap<PickleValue, PickleValue>;

/**
 * Where training stood, from the root dictionary of a checkpoint: {epoch, step, name, optimizer}.
 *
 * @param parameters of its state_dict, in its order: torch.optim numbers parameters instead of naming them
 * @returns undefined where the file has none of it, as released weights have not
 * @throws UserError where the optimizer's state does not fit the parameters
 */
export function readTrainingState(
  root: Dictionary,
  parameters: LazyTensors,
  path: string,
): TrainingState | undefined {
  const [epoch, step, name] = [root.get('epoch'), root.get('step'), root.get('name')];
  if (!isCount(epoch) || !isCount(step)) return undefined;
  const optimizer = root.get('optimizer');
  return {
    epoch,
    step,
    name: typeof name === 'string' ? name : '',
    ...(optimizer instanceof Map ? { optimizer: readOptimizer(optimizer, parameters, path) } : {}),
  };
}

/**
 * The parameters in the order in which the reference hands them to AdamW: first those that are not decayed, then the
 * others, each in the model's order.
 */
export function optimizerOrder(names: readonly string[]): [notDecayed: string[], decayed: string[]] {
  return [names.filter((name) => !isDecayed(name)), names.filter(isDecayed)];
}

function readOptimizer(
  optimizer: Dictionary,
  parameters: LazyTensors,
  path: string,
): OptimizerState | undefined {
  const wrong = (what: string) => new UserError(`${path}: the optimizer's state can't be read: ${what}`);
  const groups = optimizer.get('param_groups');
  const state = optimizer.get('state');
  if (!isList(groups) || !(state instanceof Map)) throw wrong('expected state and param_groups');
  // An optimizer that has taken no step remembers nothing.
  if (state.size === 0) return undefined;
  if (groups.length !== 2 || !groups.every((group) => group instanceof Map)) {
    throw wrong(`expected two groups of parameters, not decayed and decayed, found ${groups.length}`);
  }
  const [notDecayed, decayed] = groups as Dictionary[];
  const numbers = [notDecayed, decayed].map((group) => {
    const found = group.get('params');
    if (!isList(found) || !found.every(isCount)) throw wrong('a group has no list of parameters');
    return found as number[];
  });
  const order = parameterOrder(parameters, numbers);
  if (order === undefined) {
    throw wrong(
      `its groups have ${numbers.map(({ length }) => length).join(' and ')} parameters, which are neither all of ` +
        'the model nor all but those of the image tower',
    );
  }

  const moments = new Map<string, { first: TorchTensor; second: TorchTensor }>();
  const steps = new Set<number>();
  const all = numbers.flat();
  for (const [i, name] of order.entries()) {
    const entry = state.get(all[i]);
    const [first, second] =
      entry instanceof Map ? [entry.get('exp_avg'), entry.get('exp_avg_sq')] : [undefined, undefined];
    if (!(first instanceof TorchTensor && second instanceof TorchTensor)) {
      throw wrong(`parameter ${i} ('${name}') has no exp_avg and exp_avg_sq`);
    }
    for (const moment of [first, second]) {
      moment.check(`${path}, optimizer state of ${name}`);
      if (moment.shape.join() !== parameters.get(name)!.shape.join()) {
        throw wrong(`that of parameter ${i} has shape [${moment.shape}], '${name}' has another`);
      }
    }
    moments.set(name, { first, second });
    steps.add(readStep((entry as Dictionary).get('step')));
  }
  if (steps.size !== 1) throw wrong('its parameters were updated different numbers of times');
  const [step] = steps;
  if (!isCount(step)) throw wrong('it does not say how many steps it has taken');

  const number = (group: Dictionary, key: string): number => {
    const value = group.get(key);
    if (!isFiniteNumber(value)) throw wrong(`a group has no ${key}`);
    return value;
  };
  const betas = decayed.get('betas');
  if (!isList(betas) || betas.length !== 2 || !betas.every(isFiniteNumber)) {
    throw wrong('a group has no betas');
  }
  return {
    step,
    learningRate: number(decayed, 'lr'),
    weightDecay: number(decayed, 'weight_decay'),
    beta1: betas[0] as number,
    beta2: betas[1] as number,
    epsilon: number(decayed, 'eps'),
    moments,
  };
}

/** Names by the optimizer's numbers: all parameters, or those that a locked image tower leaves. */
function parameterOrder(parameters: LazyTensors, groups: readonly number[][]): string[] | undefined {
  const names = [...parameters.keys()].filter((name) => !isBuffer(name));
  const candidates = [names, names.filter((name) => !isVisionParameter(name))];
  return candidates
    .map(optimizerOrder)
    .find((order) => order.every(({ length }, i) => length === groups[i].length))
    ?.flat();
}

/** torch counts steps in a float32 tensor since 1.12, in a number before. */
function readStep(step: PickleValue | undefined): number {
  if (!(step instanceof TorchTensor)) return typeof step === 'number' ? step : Number.NaN;
  if (byteLengthOf(step) > 8) return Number.NaN;
  step.check('step');
  return Number(readValues(step)[0]);
}

function isFiniteNumber(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isList(value: PickleValue | undefined): value is PickleValue[] {
  return Array.isArray(value);
}
