/** Every wrapper around every strategy: what the pair must keep, or the refusal that says why it is none. */
import { describe, expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import { tensorSet } from "../../adapters/tensor.ts";
import { type BuiltStrategy, buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES, WRAPPERS } from "../../aggregators/index.ts";
import { checkNeeds } from "../../aggregators/needs.ts";
import type { Spec } from "../../aggregators/options.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import { admit } from "../../aggregators/update-check.ts";
import { FedloomError } from "../../base/errors.ts";
import {
  bits,
  CLIENTS,
  expectation,
  extrasOf,
  globalFor,
  rounds,
  run,
  tensorsOf,
  trained,
  WRAPPER_SETTINGS,
} from "./any-strategy.ts";
import { entry } from "./small.ts";

/** Pairs that are refused, by what the strategy needs; every other pair must work. */
function refusalOf(wrapper: Spec, { needs }: BuiltStrategy): string | undefined {
  if (needs.changesBase === true && ["server-optimizer", "noise"].includes(wrapper.name)) {
    return `Cannot use wrapper "${wrapper.name}" around this strategy: it would see the adapter and not`;
  }
  if (wrapper.noiseMultiplier !== undefined && needs.readsSingleUpdates) {
    return "Cannot add noise around this strategy: it reads single updates";
  }
  return undefined;
}

test("every wrapper of the list is tried", () => {
  expect(Object.keys(WRAPPER_SETTINGS).sort()).toEqual(WRAPPERS.map(({ name }) => name).sort());
});

const pairs = Object.values(WRAPPER_SETTINGS)
  .flat()
  .flatMap((wrapper) => STRATEGIES.map(({ name }) => ({ name, wrapper, set: JSON.stringify(wrapper) })));

describe.each(pairs)("$set around $name", ({ name, wrapper }) => {
  const refusal = refusalOf(wrapper, buildStrategy({ name }));
  if (refusal !== undefined) {
    test("is refused with its reason", () => {
      const build = () => buildStrategy({ name }, [wrapper]);
      expect(build).toThrow(FedloomError);
      expect(build).toThrow(refusal);
    });
    return;
  }
  const built = buildStrategy({ name }, [wrapper]);
  const global = globalFor(built);
  const clients = Array.from({ length: CLIENTS }, (_, k) => trained(built, global, `c${k}`, k + 1));
  if (clients[0]!.tensors.names.length === 0) {
    test("is left without a tensor that travels, which every update is refused for", () => {
      const { admitted, refused } = admit(expectation(built, global), clients);
      expect(admitted).toEqual([]);
      expect(refused.map(({ error }) => error.message)).toEqual(
        clients.map(
          ({ info }) =>
            `Cannot use the update of client "${info.client}": it holds none of the adapter's tensors`,
        ),
      );
    });
    return;
  }

  test("does not depend on the order in which updates came", () => {
    expect(bits(run(built, global, [...clients].reverse()))).toEqual(bits(run(built, global, clients)));
  });

  test("goes on with the same bits after its state was saved and loaded", () => {
    const straight = rounds(built, global, (state) => state);
    const saved = rounds(built, global, (state) => decodeState(encodeState(state)));
    expect(bits(saved)).toEqual(bits(straight));
    expect(encodeState(saved.state)).toEqual(encodeState(straight.state));
  });

  test("refuses a client with NaN, by client and tensor, and goes on without it", () => {
    const [bad, ...rest] = clients;
    const tensor = bad!.tensors.names.at(-1)!;
    const broken = new Map(tensorsOf(bad!));
    const value = broken.get(tensor)!;
    const last = floats(value).length - 1;
    const data = Float64Array.from(floats(value), (x, i) => (i === last ? Number.NaN : x));
    broken.set(tensor, { ...value, data });
    const { admitted, refused } = admit(expectation(built, global), [
      entry(bad!.info, broken, extrasOf(bad!)),
      ...rest,
    ]);
    expect(refused.map(({ error }) => error.message)).toEqual([
      `Cannot use the update of client "c0": tensor "${tensor}" must be finite, got NaN at position ${last}`,
    ]);
    if (admitted.length < built.needs.minUpdates) {
      expect(() => run(built, global, admitted)).toThrow(
        `at least ${built.needs.minUpdates} usable updates are wanted, got ${CLIENTS - 1}`,
      );
      return;
    }
    const tensors = [...run(built, global, admitted).global.tensors.values()];
    expect(tensors.every((tensor) => floats(tensor).every(Number.isFinite))).toBe(true);
  });

  test("keeps tensors that do not travel, bit for bit", () => {
    const { travels } = expectation(built, global);
    if (travels === undefined) return;
    const sends = new RegExp(travels);
    const result = run(built, global, clients);
    for (const [tensor, value] of global.tensors) {
      if (!sends.test(tensor)) expect(result.global.tensors.get(tensor), tensor).toEqual(value);
    }
  });

  test("does without a tensor that a client lacks, or refuses the client", () => {
    const [poor, ...rest] = clients;
    const kept = [...tensorsOf(poor!)].filter(([tensor]) => !tensor.includes("connector"));
    if (kept.length === 0 || kept.length === poor!.tensors.names.length) return;
    const lacking = entry(poor!.info, tensorSet(kept), extrasOf(poor!));
    const { admitted, refused } = admit(expectation(built, global), [lacking, ...rest]);
    if (built.needs.missingTensors !== true) {
      expect(refused.map(({ client, error }) => `${client}: ${error.code}`)).toEqual(["c0: F3101"]);
      return;
    }
    const tensors = [...run(built, global, admitted).global.tensors.values()];
    expect(tensors.every((tensor) => floats(tensor).every(Number.isFinite))).toBe(true);
  });

  test("leaves global adapter, updates and state as they were", () => {
    const before = run(built, global, clients);
    const fixtures = [
      before.global.tensors,
      ...Object.values(before.state.tensors),
      ...clients.map(tensorsOf),
    ];
    const copies = fixtures.map((set) => structuredClone([...set]));
    run(built, before.global, clients, before.state, 2);
    expect(fixtures.map((set) => [...set])).toEqual(copies);
  });

  test("says whether it can do with the sum of the updates alone", () => {
    const check = () => checkNeeds(name, built.needs, { secureAggregation: true });
    const reads = wrapper.name === "ownership" || buildStrategy({ name }).needs.readsSingleUpdates;
    if (reads) {
      expect(check).toThrow(
        `Cannot run strategy "${name}": it reads single updates, and secure aggregation shows only their sum`,
      );
    } else expect(check).not.toThrow();
  });
});
