import { defineConfig } from "vitest/config";
import { lackingEnvironment } from "./bin/start-memory.mjs";

Object.assign(process.env, lackingEnvironment()); // its workers are processes, which begin as the program does

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Two workers: the reference machine has two cores, and onnxruntime brings threads of its own.
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
