import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Diagnosis } from '../src/engine/diagnosis.js';
import { runCli } from './runCli.js';

test('doctor tells what is here, what is missing, and what adds it', async () => {
  const { code, stdout, stderr } = await runCli(['doctor', '--json', 'true']);
  assert.equal(code, 0, stderr);
  const { versions, machine, engines, libraries } = JSON.parse(stdout) as Diagnosis;
  assert.equal(versions.node, process.versions.node);
  assert.ok(versions['onnxruntime-node'] && versions.sharp && versions.libvips);
  assert.ok(machine.threads >= 1 && machine.memoryGiB > 0);
  const byName = new Map(engines.map((engine) => [engine.name, engine]));
  assert.equal(byName.get('onnx (cpu)')?.isThere, true);
  assert.equal(byName.get('tfjs (cpu)')?.isThere, true);
  for (const provider of ['cuda', 'tensorrt', 'webgpu']) assert.ok(byName.has(`onnx (${provider})`));
  assert.ok(libraries.some(({ name }) => name === 'libonnxruntime_providers_cuda.so'));
  for (const { name, isThere, remedy } of [...engines, ...libraries]) {
    assert.equal(remedy === undefined, isThere, name);
  }
  const table = await runCli(['doctor']);
  assert.match(table.stdout, /yes {2}onnx \(cpu\) +works/);
});
