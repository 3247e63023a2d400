import { describe, expect, test } from "vitest";
import { loadTfjs, nameOf } from "../../../training/tfjs/load.ts";
import { only } from "./only.ts";

const nothing = only();

// First in this file: the compiled code does what it does once a process.
test("errors that nobody caught end the process as before: tfjs takes over no event of it", async () => {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const listeners = () => events.map((event) => process.listenerCount(event));
  const before = listeners();
  const { tf } = await loadTfjs("cpu", { find: only("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm") });
  expect(tf.getBackend()).toBe("wasm");
  expect(listeners()).toEqual(before);
});

describe("where no package is there, the message says which to install", () => {
  test.each([
    [
      "cpu",
      'Cannot load the tfjs trainer: package "@tensorflow/tfjs" is not installed; run "npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm"',
    ],
    [
      "cuda",
      'Cannot load the tfjs trainer: package "@tensorflow/tfjs-node-gpu" is not installed; run "npm install --save-optional @tensorflow/tfjs-node-gpu --ignore-scripts=false"',
    ],
    [
      "webgpu",
      'Cannot load the tfjs trainer for device "webgpu": under Node tfjs has "cpu" and "cuda"; "--trainer onnx" has it',
    ],
  ] as const)("for %s", async (device, message) => {
    await expect(loadTfjs(device, { find: nothing })).rejects.toMatchObject({ code: "F1005", message });
  });
});

test("WebAssembly is taken where its package stands beside the operators, else JavaScript", async () => {
  const [plain, wasm] = ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"];
  expect(nameOf(await loadTfjs("cpu", { find: only(plain!) }))).toMatch(
    /^@tensorflow\/tfjs 4\.\S+, backend cpu$/,
  );
  expect(nameOf(await loadTfjs("cpu", { find: only(plain!, wasm!) }))).toMatch(
    /^@tensorflow\/tfjs-backend-wasm 4\.\S+, backend wasm$/,
  );
  await expect(loadTfjs("cpu", { find: only(wasm!) })).rejects.toMatchObject({ code: "F1005" });
});
