import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Two workers: the reference machine has two cores, and onnxruntime brings threads of its own.
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
