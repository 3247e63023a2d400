import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** For loadTfjs: as if only these packages were installed. */
export const only =
  (...names: readonly string[]) =>
  (name: string): string => {
    if (names.includes(name)) return require.resolve(name);
    throw new Error(`Cannot find module "${name}"`);
  };
