/** From `{name, preset, ...options}` to a strategy that is ready to run, wrappers around it. */
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
 * @param wrappers the first is the innermost: it sees what the strategy sees
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
  for (const [i, wrapperSpec] of wrappers.entries()) {
    const place = places.wrappers?.[i];
    const wrapper = findDefinition("wrapper", wrapperSpec.name, WRAPPERS, place);
    const options = resolveOptions("wrapper", wrapper, wrapperSpec, place);
    needs = wrapper.needs?.(needs, options) ?? needs;
    strategy = wrapper.wrap(options)(strategy);
    resolved.push({ name: wrapper.name, ...options });
  }
  return {
    name: spec.name,
    strategy,
    needs,
    resolved: { strategy: { name: spec.name, ...config }, wrappers: resolved },
  };
}
