/** From `{name, preset, ...options}` to a strategy that is ready to run, wrappers around it. */
import { FedloomError } from "../base/errors.ts";
import { STRATEGIES, WRAPPERS } from "./index.ts";
import { findDefinition, type Place, resolveOptions, type Spec } from "./options.ts";
import type { Needs, Strategy } from "./strategy.ts";

export interface BuiltStrategy {
  readonly name: string;
  readonly strategy: Strategy;
  /** Of the whole, wrappers included. */
  readonly needs: Needs;
  /** What it was built from with every default filled in: saved with the run, and enough to build it again. */
  readonly resolved: { readonly strategy: Spec; readonly wrappers: readonly Spec[] };
}

/**
 * @param wrappers updates pass through them in this order, before the strategy sees them; each at most once
 * @param places where each spec is written, for messages
 * @throws FedloomError F3110 for unknown names, F3111 for wrong options, F3112 where parts do not go together
 */
export function buildStrategy(
  spec: Spec,
  wrappers: readonly Spec[] = [],
  places: { readonly strategy?: Place; readonly wrappers?: readonly Place[] } = {},
): BuiltStrategy {
  const definition = findDefinition("strategy", spec.name, STRATEGIES, places.strategy);
  const config = resolveOptions("strategy", definition, spec, places.strategy);
  let strategy = definition.build(config);
  let needs = typeof definition.needs === "function" ? definition.needs(config) : definition.needs;
  const resolved: Spec[] = [];
  for (const [i, wrapperSpec] of [...wrappers.entries()].reverse()) {
    const place = places.wrappers?.[i];
    const wrapper = findDefinition("wrapper", wrapperSpec.name, WRAPPERS, place);
    if (resolved.some(({ name }) => name === wrapper.name)) {
      throw new FedloomError("F3112", `Cannot use wrapper "${wrapper.name}" twice around "${spec.name}"`, {
        wrapper: wrapper.name,
      });
    }
    const options = resolveOptions("wrapper", wrapper, wrapperSpec, place);
    strategy = wrapper.wrap(options, needs)(strategy);
    needs = wrapper.needs?.(needs, options) ?? needs;
    resolved.unshift({ name: wrapper.name, ...options });
  }
  return {
    name: spec.name,
    strategy,
    needs,
    resolved: { strategy: { name: spec.name, ...config }, wrappers: resolved },
  };
}
