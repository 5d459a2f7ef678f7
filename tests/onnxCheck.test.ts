import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { onnxSchema } from '../src/engine/onnx/protobuf.js';
import { UserError } from '../src/errors.js';
import { checkOnnxFile } from '../src/export/check.js';
import { exportOnnx } from '../src/index.js';
import { onnx, temporaryDirectory, tinyModel } from './support.js';

interface Message {
  irVersion: number;
  opsetImport: { domain: string; version: number }[];
  graph: {
    node: {
      name: string;
      opType: string;
      domain: string;
      input: string[];
      output: string[];
      attribute: { name: string; type: number }[];
    }[];
    initializer: {
      name: string;
      dims: number[];
      dataType: number;
      externalData: { key: string; value: string }[];
    }[];
    output: { name: string; type: object | undefined }[];
  };
}

const out = `${temporaryDirectory()}/model`;
const inline = `${out}.txt.fp32.onnx`;
const external = `${out}-external.txt.fp32.onnx`;
const type = onnxSchema.lookupType('ModelProto');

before(async () => {
  const model = tinyModel(onnx);
  await exportOnnx(model, { out });
  await exportOnnx(model, { out: `${out}-external`, externalData: true });
});

/** A change to a good file, and what the checker must say of it. */
const faults: [string, (message: Message) => void, RegExp, string?][] = [
  [
    'an operator of another domain',
    ({ graph }) => (graph.node[3].domain = 'com.microsoft'),
    /com\.microsoft/,
  ],
  ['a second domain', ({ opsetImport }) => opsetImport.push({ domain: 'x', version: 1 }), /nothing else/],
  ['an unknown operator', ({ graph }) => (graph.node[3].opType = 'Gadd'), /is a Gadd/],
  ['an unknown opset', ({ opsetImport }) => (opsetImport[0].version = 99), /opset 99/],
  ['an IR version below the opset', (message) => (message.irVersion = 7), /needs IR version 8, it says 7/],
  [
    'an operator that the opset lacks',
    (message) => (message.opsetImport[0].version = 16),
    /opset 16 has no LayerNormalization/,
  ],
  ['nodes out of order', ({ graph }) => graph.node.reverse(), /before it is there/],
  ['an input that nothing computes', ({ graph }) => (graph.node[5].input[0] = 'nowhere'), /reads 'nowhere'/],
  [
    'a value that is computed twice',
    ({ graph }) => (graph.node[1].output[0] = graph.node[0].output[0]),
    /has a name that is taken/,
  ],
  ['two nodes of a name', ({ graph }) => (graph.node[1].name = graph.node[0].name), /two nodes are named/],
  ['an output that nothing computes', ({ graph }) => (graph.output[0].name = 'y'), /nothing computes .* 'y'/],
  ['an output without a type', ({ graph }) => (graph.output[0].type = undefined), /no element type/],
  ['too many inputs', ({ graph }) => nodeOf(graph, 'Not').input.push('text'), /Not\) has 2 inputs/],
  [
    'an attribute of another kind',
    ({ graph }) => (nodeOf(graph, 'Transpose').attribute[0].type = 2),
    /'perm' must be of kind ints/,
  ],
  [
    'an attribute that is not there',
    ({ graph }) => (nodeOf(graph, 'Transpose').attribute[0].name = 'order'),
    /Transpose has no attribute 'order'/,
  ],
  [
    'a shape that its data do not fill',
    ({ graph }) => graph.initializer[0].dims.push(2),
    /its shape .* needs/,
  ],
  ['an unknown element type', ({ graph }) => (graph.initializer[0].dataType = 77), /element type 77/],
  [
    'external data beyond the end of its file',
    ({ graph }) => (entryOf(graph, 'offset').value = '99999999'),
    /has \d+ bytes/,
    external,
  ],
  [
    'external data in another folder',
    ({ graph }) => (entryOf(graph, 'location').value = '../secret'),
    /must lie in a file of the same folder/,
    external,
  ],
  [
    'external data in no file',
    ({ graph }) => (entryOf(graph, 'location').value = 'nothing'),
    /does not exist/,
    external,
  ],
];

const nodeOf = (graph: Message['graph'], op: string) => graph.node.find(({ opType }) => opType === op)!;
const entryOf = (graph: Message['graph'], key: string) =>
  graph.initializer.flatMap(({ externalData }) => externalData).find((entry) => entry.key === key)!;

for (const [name, change, message, file = inline] of faults) {
  test(`refused: ${name}`, () => {
    checkOnnxFile(file);
    const decoded = type.toObject(type.decode(readFileSync(file)), { defaults: true, longs: Number });
    change(decoded as Message);
    // Beside the good file, so that external data is found.
    const changed = `${file}.changed`;
    writeFileSync(changed, type.encode(decoded).finish());
    assert.throws(
      () => checkOnnxFile(changed),
      (error) => error instanceof UserError && message.test(error.message),
    );
  });
}

test('refused: a truncated file with external data', () => {
  truncateSync(`${external}.extra_file`, 5000);
  assert.throws(() => checkOnnxFile(external), /has 5000 bytes/);
});
