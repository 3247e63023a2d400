import { z } from "zod";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { GROUP_PATTERNS } from "../groups.ts";
import { onlyClients, onlyTensors } from "../selection.ts";
import { baseDeltaOf } from "../side-factors.ts";
import { defineWrapper, type Group, type StrategyState, type Updates } from "../strategy.ts";
import { patternOption } from "./travels.ts";

/** Groups in the order in which their patterns are tried; what none matches is shared. */
const OWNED: readonly Group[] = ["image", "audio", "text"];
const GROUPS: readonly Group[] = [...OWNED, "shared"];
/** The set of the state that is no group's: what was added to the base, as it was handed out. */
const SIDE = "base";

/**
 * Ownership masks: a tensor that only examples of one modality reach is aggregated over the clients that had such
 * examples, each counting by how many it had. A client without images has no say in what looks at images.
 *
 *   θ_g = rule over {k: n_k^g > 0} with n_k := n_k^g      g: image, audio, text, shared; n_k^shared = n_k
 *   nobody in g, or fewer than the rule needs → θ_g stays
 *
 * The rule runs once for each group, with a state for each, so it may be any rule: FedAdam's moments of the image
 * tensors then move only in rounds that saw images, and what a rule adds to the base (FLoRA, FedEx-LoRA) it adds to the
 * modules of the group.
 */
export const ownership = defineWrapper({
  name: "ownership",
  config: z.strictObject({
    image: patternOption.default(GROUP_PATTERNS.image).describe("names of tensors that images reach alone"),
    audio: patternOption.default(GROUP_PATTERNS.audio).describe("names of tensors that audio reaches alone"),
    text: patternOption.default(GROUP_PATTERNS.text).describe("names of tensors that text reaches alone"),
  }),
  needs: (inner) => ({ ...inner, readsSingleUpdates: true, separable: "adapter" }),
  wrap:
    (patterns, { minUpdates }) =>
    (inner) => {
      const compiled = OWNED.map((group) => ({
        group,
        pattern: new RegExp(patterns[group as keyof typeof patterns]),
      }));
      const groupOf = (name: string): Group =>
        compiled.find(({ pattern }) => pattern.test(name))?.group ?? "shared";
      const part = (tensors: TensorSet, group: Group): TensorSet =>
        tensorSet([...tensors].filter(([name]) => groupOf(name) === group));
      return {
        init(global) {
          const states = GROUPS.map((group) => [
            group,
            inner.init({ ...global, tensors: part(global.tensors, group) }),
          ]);
          return joined(states as [Group, StrategyState][]); // map keeps the pair's types
        },
        ...(inner.plan !== undefined && {
          // The rule says the same for every group, but for corrections, which are made from the group's state.
          plan(state, context) {
            const plans = GROUPS.map((group) => inner.plan!(stateOf(state, group), context));
            const gradient = plans.flatMap(({ corrections }) => [...(corrections?.gradient ?? [])]);
            const ranks = plans.flatMap(({ rank }) => (rank === undefined ? [] : [rank]));
            return {
              ...plans[0]!,
              ...(ranks.length > 0 && { rank: Math.min(...ranks) }), // a group without a say has heard of none
              ...(gradient.length > 0 && { corrections: { gradient: tensorSet(gradient) } }),
            };
          },
        }),
        aggregate(state, context, updates) {
          let tensors: TensorSet = new Map();
          // A group that nobody is in keeps what it added before.
          const side = new Map(state.tensors[SIDE]);
          const states: [Group, StrategyState][] = [];
          const report: Record<string, number> = {};
          for (const group of GROUPS) {
            const own = part(context.global.tensors, group);
            const before = stateOf(state, group);
            const seen = ownedBy(
              onlyTensors(updates, (name) => groupOf(name) === group),
              group,
            );
            report[`clients.${group}`] = seen.clients.length;
            if (own.size === 0 || seen.clients.length < minUpdates) {
              tensors = new Map([...tensors, ...own]);
              states.push([group, before]);
              continue;
            }
            const global = { config: context.global.config, tensors: own };
            const result = inner.aggregate(
              before,
              { ...context, global, rng: context.rng.fork(group) },
              seen,
            );
            tensors = new Map([...tensors, ...result.global.tensors]);
            states.push([group, result.state]);
            for (const [name, factor] of result.baseDelta?.tensors ?? []) side.set(name, factor);
            for (const [key, value] of Object.entries(result.report)) report[`${key}.${group}`] = value;
          }
          const groups = joined(states);
          return {
            state:
              side.size === 0
                ? groups
                : { ...groups, tensors: { ...groups.tensors, [SIDE]: tensorSet(side) } },
            global: { config: context.global.config, tensors: tensorSet(tensors) },
            ...(side.size > 0 && { baseDelta: baseDeltaOf(context.global, tensorSet(side)) }),
            report,
          };
        },
      };
    },
});

/** Only the clients that touched the group, their examples being those that did. */
function ownedBy(updates: Updates, group: Group): Updates {
  const counts = updates.clients.map((info) =>
    group === "shared" ? info.examples : (info.touched[group] ?? 0),
  );
  const owners = onlyClients(
    updates,
    counts.flatMap((count, k) => (count > 0 ? [k] : [])),
  );
  const owned = counts.filter((count) => count > 0);
  return { ...owners, clients: owners.clients.map((info, k) => ({ ...info, examples: owned[k]! })) };
}

function joined(states: readonly (readonly [Group, StrategyState])[]): StrategyState {
  return {
    scalars: Object.fromEntries(
      states.flatMap(([group, { scalars }]) =>
        Object.entries(scalars).map(([key, value]) => [`${group}.${key}`, value]),
      ),
    ),
    tensors: Object.fromEntries(
      states.flatMap(([group, { tensors }]) =>
        Object.entries(tensors).map(([key, set]) => [`${group}.${key}`, set]),
      ),
    ),
  };
}

function stateOf({ scalars, tensors }: StrategyState, group: Group): StrategyState {
  const mine = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(
      Object.entries(record)
        .filter(([key]) => key.startsWith(`${group}.`))
        .map(([key, value]) => [key.slice(group.length + 1), value]),
    );
  return { scalars: mine(scalars), tensors: mine(tensors) };
}
