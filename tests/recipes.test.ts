import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { finetuneSchema } from '../src/config/finetune.js';
import { resolveSettings } from '../src/config/options.js';
import { officialModels } from '../src/hub/models.js';
import { packageRoot } from '../src/io/packageRoot.js';
import { loadModelConfig } from '../src/model/config.js';
import { requireSuitable } from '../src/train/start.js';

const folder = join(packageRoot, 'configs', 'finetune');
const open = (name: string) => resolveSettings(finetuneSchema, join(folder, name), {});

/** The reference's scripts for ViT-B-16: pairs of a step on all GPUs, and what belongs to them. */
const published = {
  muge: { batchSize: 1024, learningRate: 5e-5, warmupSteps: 100, epochs: 3, validEverySteps: 150 },
  'flickr30k-cn': { batchSize: 1024, learningRate: 5e-5, warmupSteps: 100, epochs: 3, validEverySteps: 150 },
  'coco-cn': { batchSize: 8192, learningRate: 3e-5, warmupSteps: 6, epochs: 20, validEverySteps: 0 },
};

for (const [dataset, settings] of Object.entries(published)) {
  test(`${dataset}: a recipe for every released model, the reference's for ViT-B-16`, () => {
    for (const { name } of officialModels) {
      const file = `${dataset}_${name.toLowerCase()}.yaml`;
      const recipe = open(file);
      const { learningRate, ...others } = settings;
      const expected = { ...others, model: name, weightDecay: 0.001, augment: true, contextLength: 52 };
      for (const [key, value] of Object.entries(expected)) {
        assert.equal(recipe[key as keyof typeof recipe], value, `${file}: ${key}`);
      }
      if (name === 'ViT-B-16') assert.equal(recipe.learningRate, learningRate);
      assert.ok(recipe.learningRate <= learningRate);
      assert.equal(recipe.batchSize % recipe.accumulate, 0);
      requireSuitable(recipe, loadModelConfig(name));
      const comments = readFileSync(join(folder, file), 'utf8');
      assert.match(comments, new RegExp(`--config configs/finetune/${file} --model ${name} --data `));
      assert.match(comments, /# Published .*\n# .*zero-shot [\d./ ]+, finetuned [\d./ ]+\n/);
      assert.match(comments, /# Cost: /);
    }
  });
}

test('every recipe is read, and its launch line names it', () => {
  const files = readdirSync(folder);
  assert.ok(files.length >= 18);
  for (const file of files) {
    open(file);
    assert.match(readFileSync(join(folder, file), 'utf8'), new RegExp(`--config configs/finetune/${file}`));
  }
});
