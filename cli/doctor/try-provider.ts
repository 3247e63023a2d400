/**
 * Runs one real graph on one execution provider and prints what happened as JSON. A process of its own: a
 * native provider that does not fit the machine may end the process, or never come back.
 *
 * node try-provider.ts PROVIDER VISION_ENCODER.onnx
 */
import { InferenceSession, Tensor } from "onnxruntime-node";
import { messageOf } from "../../base/errors.ts";

const [provider, graph] = process.argv.slice(2);
if (provider === undefined || graph === undefined)
  throw new TypeError("try-provider takes a provider and a graph");

try {
  const session = await InferenceSession.create(graph, { executionProviders: [provider] });
  const side = 32;
  const started = performance.now();
  await session.run({
    pixel_values: new Tensor("float32", new Float32Array(3 * side * side).fill(0.5), [1, 1, 3, side, side]),
    pixel_attention_mask: new Tensor("bool", new Uint8Array(side * side).fill(1), [1, 1, side, side]),
  });
  console.log(JSON.stringify({ works: true, ms: performance.now() - started }));
} catch (error) {
  console.log(JSON.stringify({ works: false, reason: messageOf(error) }));
}
