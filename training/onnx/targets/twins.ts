/**
 * Layers that a model calls several times, as ALBERT does with its only block and DeBERTa with the projections of
 * positions: each call is a product of its own in the graph, and an adapter's factors belong beside all of them.
 *
 * Exporters number the later calls ("query", "query_1") and may copy the weight for each, so names say what may be
 * the same layer and the values decide.
 */
import type { LinearModule } from "../engine.ts";
import type { Weight } from "../weight.ts";

/** The module itself and the other calls of it. */
export function allCalls(
  module: LinearModule,
  modules: readonly LinearModule[],
  weights: ReadonlyMap<string, Weight>,
): readonly LinearModule[] {
  if (module.columns !== undefined) return [module];
  const others = modules.filter(
    (other) =>
      other.node !== module.node &&
      other.columns === undefined &&
      other.layout === module.layout &&
      (other.weight === module.weight ||
        (withoutNumbers(other.path) === withoutNumbers(module.path) &&
          isEqual(weights.get(other.weight), weights.get(module.weight)))),
  );
  return [module, ...others];
}

const withoutNumbers = (path: string): string => path.replaceAll(/_\d+(?=\.|$)/g, "");

function isEqual(a: Weight | undefined, b: Weight | undefined): boolean {
  if (a === undefined || b === undefined || a.type !== b.type || `${a.shape}` !== `${b.shape}`) return false;
  const [x, y] = [a.bytes(), b.bytes()];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
