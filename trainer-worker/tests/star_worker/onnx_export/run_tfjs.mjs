// Runs a graph model in TensorFlow.js (plain JavaScript backend), the runtime that its package is made for.
// Usage: node run_tfjs.mjs MODEL_JSON INPUT_FLOAT32 SHAPE OUT; OUT gets one JSON object: node name to {shape, values}.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';

const [modelPath, inputPath, shapeText, outPath] = process.argv.slice(2);
const { modelTopology, weightsManifest, signature, format } = JSON.parse(readFileSync(modelPath, 'utf8'));
const files = weightsManifest.flatMap(({ paths }) => paths).map((name) => readFileSync(join(dirname(modelPath), name)));
const bytes = Buffer.concat(files);
const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
const model = await loadGraphModel({ load: async () => ({ modelTopology, weightSpecs, weightData, signature, format }) });

const input = readFileSync(inputPath);
const values = new Float32Array(input.buffer.slice(input.byteOffset, input.byteOffset + input.byteLength));
const results = model.execute(tf.tensor(values, JSON.parse(shapeText)), model.outputNodes);
const named = [results].flat().map((tensor, index) => [
  model.outputNodes[index].replace(/:0$/, ''),
  { shape: tensor.shape, values: [...tensor.dataSync()] },
]);
writeFileSync(outPath, JSON.stringify(Object.fromEntries(named)));
