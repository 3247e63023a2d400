/** What every strategy in the list must keep, whatever it computes. A new one passes this before it gets tests of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Adapter, scaleOf } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { factorPairs } from "../../adapters/tensor-names.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES } from "../../aggregators/index.ts";
import { modulesOf } from "../../aggregators/modules.ts";
import { aggregateRound } from "../../aggregators/round.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import type { AggregateResult } from "../../aggregators/strategy.ts";
import { admit } from "../../aggregators/update-check.ts";
import {
  bits,
  CLIENTS,
  CORE,
  expectation,
  extrasOf,
  globalFor,
  rounds,
  run,
  sent,
  setFrom,
  tensorsOf,
  trained,
} from "./any-strategy.ts";
import { dense, entry } from "./small.ts";

/** Float64 throughout: what is left is the rounding of sums and small SVDs. */
const ROUNDING = 1e-9;

/** Strategies whose step is not the mean of the clients' steps, and why equal updates do not come out as sent. */
const STEPS_ELSEWHERE: Readonly<Record<string, string>> = {
  fedadagrad: "adaptive step",
  fedadam: "adaptive step",
  fedyogi: "adaptive step",
  qfedavg: "damped by the curvature that it assumes",
  fednova: "equal changes from unequal numbers of steps are not equal",
  feddyn: "h/α moves beyond the mean",
  "norm-clipping": "clipped",
  "centered-clipping": "clipped",
  "task-arithmetic": "a sum, scaled",
  ties: "small changes are trimmed",
  dare: "changes are dropped by chance",
};

describe.each(STRATEGIES.map(({ name }) => name))("%s", (name) => {
  const built = buildStrategy({ name });
  const global = globalFor(built);
  const clients = Array.from({ length: CLIENTS }, (_, k) => trained(built, global, `c${k}`, k + 1));

  test("does not depend on the order in which updates came", () => {
    const forwards = run(built, global, clients);
    const backwards = run(built, global, [...clients].reverse());
    expect(bits(backwards)).toEqual(bits(forwards));
  });

  test("leaves the model where it is when no client moved", () => {
    const still = clients.map(({ info }) => sent(built, global, info, global.tensors));
    expectClose(effective(run(built, global, still)), effective({ global }));
  });

  test("takes over an update that all clients agree on, or steps towards it", () => {
    const [first] = clients;
    const agreed = clients.map(({ info }) => sent(built, global, info, tensorsOf(first!)));
    const target = { global: { ...global, tensors: new Map([...global.tensors, ...tensorsOf(first!)]) } };
    const result = run(built, global, agreed);
    if (STEPS_ELSEWHERE[name] === undefined) {
      expectClose(effective(result), effective(target));
    } else {
      expectTowards(global, result.global, target.global);
    }
  });

  test("gives a lone client's model back, or steps towards it", () => {
    if (built.needs.minUpdates > 1) {
      expect(() => run(built, global, clients.slice(0, 1))).toThrow(
        /at least \d+ usable updates are wanted, got 1/,
      );
      return;
    }
    const target = {
      global: { ...global, tensors: new Map([...global.tensors, ...tensorsOf(clients[0]!)]) },
    };
    const result = run(built, global, clients.slice(0, 1));
    if (STEPS_ELSEWHERE[name] === undefined) {
      expectClose(effective(result), effective(target));
    } else {
      expectTowards(global, result.global, target.global);
    }
  });

  test("goes on with the same bits after its state was saved and loaded", () => {
    const straight = rounds(built, global, (state) => state);
    const saved = rounds(built, global, (state) => decodeState(encodeState(state)));
    expect(bits(saved)).toEqual(bits(straight));
    expect(encodeState(saved.state)).toEqual(encodeState(straight.state));
  });

  test("gives the same bits from files as from memory", async () => {
    const directory = mkdtempSync(join(tmpdir(), "fedloom-contract-"));
    try {
      const state = built.strategy.init(global);
      const write = (file: string, tensors: TensorSet) => {
        const path = join(directory, file);
        writeFileSync(path, writeSafetensors(tensors));
        return path;
      };
      const updates = clients.map(({ info, tensors, extras = {} }) => ({
        info,
        model: write(`${info.client}.safetensors`, setFrom(tensors)),
        extras: Object.fromEntries(
          Object.entries(extras).map(([kind, set]) => [
            kind,
            write(`${info.client}.${kind}.safetensors`, setFrom(set)),
          ]),
        ),
      }));
      const fromFiles = await aggregateRound({
        built,
        state,
        round: 1,
        global,
        seed: 3,
        totalClients: CLIENTS,
        updates,
      });
      expect(bits(fromFiles)).toEqual(bits(run(built, global, clients)));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("leaves global adapter, updates and state as they were", () => {
    const before = run(built, global, clients);
    const fixtures = [
      global.tensors,
      before.global.tensors,
      ...Object.values(before.state.tensors),
      ...clients.map(tensorsOf),
    ];
    const copies = fixtures.map((set) => structuredClone([...set]));
    run(built, before.global, clients, before.state, 2);
    expect(fixtures.map((set) => [...set])).toEqual(copies);
  });

  test("drops clients that trained nothing", () => {
    const idle = { ...clients[0]!, info: { ...clients[0]!.info, client: "idle", examples: 0 } };
    const { admitted, refused } = admit(expectation(built, global), [idle, ...clients]);
    expect(refused.map(({ client, error }) => `${client}: ${error.code}`)).toEqual(["idle: F3108"]);
    expect(bits(run(built, global, admitted))).toEqual(bits(run(built, global, clients)));
  });

  test("refuses a client with NaN, by client and tensor", () => {
    const [bad, ...rest] = clients;
    const [tensor] = bad!.tensors.names;
    const broken = new Map(tensorsOf(bad!));
    const value = broken.get(tensor!)!;
    broken.set(tensor!, {
      ...value,
      data: Float64Array.from(floats(value), (x, i) => (i === 1 ? Number.NaN : x)),
    });
    const { admitted, refused } = admit(expectation(built, global), [
      entry(bad!.info, broken, extrasOf(bad!)),
      ...rest,
    ]);
    expect(refused).toHaveLength(1);
    expect(refused[0]!.error).toMatchObject({ code: "F3102" });
    expect(refused[0]!.error.message).toBe(
      `Cannot use the update of client "c0": tensor "${tensor}" must be finite, got NaN at position 1`,
    );
    expect(admitted).toHaveLength(CLIENTS - 1);
  });

  test("does without a tensor that a client lacks, or refuses the client", () => {
    const [poor, ...rest] = clients;
    const dropped = [...tensorsOf(poor!).keys()].filter(
      (tensor) => tensor.includes("v_proj") || tensor === CORE,
    );
    if (dropped.length === 0) return; // nothing of that module travels
    const kept = tensorSet([...tensorsOf(poor!)].filter(([tensor]) => !dropped.includes(tensor)));
    const lacking = entry(poor!.info, kept, extrasOf(poor!));
    const { admitted, refused } = admit(expectation(built, global), [lacking, ...rest]);
    if (built.needs.missingTensors !== true || kept.size === 0) {
      expect(refused.map(({ client, error }) => `${client}: ${error.code}`)).toEqual(["c0: F3101"]);
      return;
    }
    const result = run(built, global, admitted);
    const without = run(built, global, rest);
    for (const tensor of dropped) {
      const value = result.global.tensors.get(tensor)!;
      expect(floats(value).every(Number.isFinite)).toBe(true);
      if (built.needs.separable === "adapter") continue; // what it takes of others may depend on every tensor
      expect([...floats(result.global.tensors.get(tensor)!)]).toEqual([
        ...floats(without.global.tensors.get(tensor)!),
      ]);
    }
  });

  test("keeps a tensor that everybody lacks, bit for bit, or refuses all of them", () => {
    const lacking = clients.map((client) => {
      const kept = [...tensorsOf(client)].filter(([tensor]) => !tensor.includes("connector"));
      return entry(client.info, tensorSet(kept), extrasOf(client));
    });
    if (built.needs.missingTensors !== true) {
      const { admitted, refused } = admit(expectation(built, global), lacking);
      expect(admitted).toEqual([]);
      expect(refused.map(({ error }) => error.code)).toEqual(clients.map(() => "F3101"));
      return;
    }
    const result = run(built, global, lacking);
    for (const tensor of [
      "base_model.model.vision.connector.weight",
      "base_model.model.vision.connector.bias",
    ]) {
      expect(result.global.tensors.get(tensor)).toEqual(global.tensors.get(tensor));
    }
    expect(result.report.kept).toBeGreaterThanOrEqual(2);
  });

  test("gives finite values of the global shapes for finite updates of any size", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.double({ min: 1e-6, max: 1e3, noNaN: true }),
        (seed, size) => {
          const wild = Array.from({ length: CLIENTS }, (_, k) =>
            trained(built, global, `c${k}`, seed + k, size),
          );
          const result = run(built, global, wild);
          for (const [tensor, value] of result.global.tensors) {
            expect(value.shape).toEqual(global.tensors.get(tensor)!.shape);
            expect(value.dtype).toBe(global.tensors.get(tensor)!.dtype);
            expect(floats(value).every(Number.isFinite)).toBe(true);
          }
          expect([...result.global.tensors.keys()]).toEqual([...global.tensors.keys()]);
        },
      ),
      { numRuns: 10 },
    );
  });
});

/** What the model sees: dense products of all modules, what was added to the base with them, and the other tensors. */
function effective({
  global,
  baseDelta,
}: Pick<AggregateResult, "global" | "baseDelta">): Map<string, number[]> {
  const { pairs, others } = modulesOf(global.tensors.keys());
  const seen = new Map<string, number[]>();
  for (const { module, a, b } of pairs) {
    seen.set(module, dense(global.tensors.get(b)!, global.tensors.get(a)!, scaleOf(global.config, module)));
  }
  for (const { module, a, b } of factorPairs(baseDelta?.tensors.keys() ?? [])) {
    const side = dense(
      baseDelta!.tensors.get(b)!,
      baseDelta!.tensors.get(a)!,
      scaleOf(baseDelta!.config, module),
    );
    seen.set(
      module,
      seen.get(module)!.map((value, i) => value + side[i]!),
    );
  }
  for (const name of others) seen.set(name, [...floats(global.tensors.get(name)!)]);
  return seen;
}

function expectClose(got: Map<string, number[]>, wanted: Map<string, number[]>): void {
  expect([...got.keys()]).toEqual([...wanted.keys()]);
  for (const [name, values] of wanted) {
    for (const [i, value] of values.entries()) {
      expect(Math.abs(got.get(name)![i]! - value), `${name}[${i}]`).toBeLessThan(ROUNDING);
    }
  }
}

/** No coordinate moves away from the target, and at least one moves. */
function expectTowards(from: Adapter, got: Adapter, target: Adapter): void {
  let moved = 0;
  for (const [name, old] of from.tensors) {
    for (const [i, start] of floats(old).entries()) {
      const step = floats(got.tensors.get(name)!)[i]! - start;
      const wanted = floats(target.tensors.get(name)!)[i]! - start;
      expect(step * wanted, `${name}[${i}]`).toBeGreaterThanOrEqual(0);
      if (step !== 0) moved++;
    }
  }
  expect(moved).toBeGreaterThan(0);
}
