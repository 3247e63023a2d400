/**
 * A fresh LoRA adapter, as PEFT makes one: A Kaiming-uniform with a = √5, which is uniform in ±1/√in, B zero, so
 * that the model starts out unchanged. With a core, B is uniform in ±1/√r and the core zero, to the same end.
 *
 * Source: He et al. 2015, https://arxiv.org/abs/1502.01852; initialization of torch.nn.Linear
 */
import { type Adapter, type AdapterConfig, ALL_LINEAR, isTarget, rankOf } from "../adapters/adapter.ts";
import { float32, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { factorName } from "../adapters/tensor-names.ts";
import { FedloomError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { createRng } from "../base/rng.ts";
import type { Part } from "./models/module-paths.ts";
import { HEADS } from "./onnx/targets/roles.ts";
import type { AdapterRequest } from "./trainer.ts";

/** A linear layer of the whole model. */
export interface TargetModule {
  readonly path: string;
  readonly part: Part;
  readonly in: number;
  readonly out: number;
}

/**
 * @param saved initial values of the modules that the request wants saved whole
 * @param base hash of the base model
 * @throws FedloomError F2113 where the request's targets name no module
 */
export function freshAdapter(
  { train = "decoder", core = false, init: _init, ...wanted }: AdapterRequest,
  modules: readonly TargetModule[],
  saved: TensorSet,
  base: string,
  seed: string,
): Adapter {
  const candidates = modules.filter(
    ({ path, part }) => (train === "all" || part === train) && !HEADS.test(path),
  );
  const divided = new Set(modules.map(({ part }) => part)).size > 1 || train !== "decoder";
  const config: AdapterConfig = {
    ...wanted,
    base,
    targets: divided ? withinParts(wanted, candidates) : wanted.targets,
  };
  const chosen = candidates.filter(({ path }) => isTarget(config, path));
  if (chosen.length === 0) {
    const names = [...new Set(candidates.map(({ path }) => path.split(".").at(-1)!))].sort();
    throw new FedloomError(
      "F2113",
      `Cannot make an adapter: targets ${JSON.stringify(wanted.targets)} name no module of the ${train === "all" ? "model" : train}; its linear layers are ${names.join(", ")}${nearestTo(wanted.targets, names)}`,
      { targets: wanted.targets, names },
    );
  }
  const rng = createRng(seed).fork("adapter");
  return {
    config,
    tensors: tensorSet([
      ...saved,
      ...chosen.flatMap(({ path, in: inputs, out }) => {
        const rank = rankOf(config, path);
        const bound = 1 / Math.sqrt(inputs);
        const draw = rng.fork(path);
        const a = Float32Array.from({ length: rank * inputs }, () => (2 * draw.uniform() - 1) * bound);
        const b = new Float32Array(out * rank);
        if (core) for (let i = 0; i < b.length; i++) b[i] = (2 * draw.uniform() - 1) / Math.sqrt(rank);
        return [
          [factorName(path, "lora_A"), float32([rank, inputs], a)] as const,
          [factorName(path, "lora_B"), float32([out, rank], b)] as const,
          ...(core
            ? [[factorName(path, "lora_R"), float32([rank, rank], new Float32Array(rank * rank))] as const]
            : []),
        ];
      }),
    ]),
  };
}

function nearestTo(targets: AdapterConfig["targets"], names: readonly string[]): string {
  const near = (typeof targets === "string" ? [targets] : targets).flatMap((target) => {
    const name = nearest(target.split(".").at(-1)!, names);
    return name === undefined ? [] : [`"${name}"`];
  });
  return near.length === 0 ? "" : `; did you mean ${[...new Set(near)].join(", ")}?`;
}

/**
 * A list of names means the part that is trained; PEFT would find them in every part. So the adapter says in one
 * expression which modules it has.
 */
function withinParts(
  { targets }: Pick<AdapterConfig, "targets">,
  candidates: readonly TargetModule[],
): AdapterConfig["targets"] {
  if (typeof targets === "string" && targets !== ALL_LINEAR) return targets;
  const wanted = candidates.filter(({ path }) =>
    targets === ALL_LINEAR ? true : isTarget({ ...NO_LIMITS, targets }, path),
  );
  if (wanted.length === 0) return targets;
  const quoted = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const roots = new Set(wanted.map(({ path }) => quoted(path.split(".").slice(0, 2).join("."))));
  const names = new Set(wanted.map(({ path }) => quoted(path.split(".").at(-1)!)));
  return `(${[...roots].sort().join("|")})\\.(.*\\.)?(${[...names].sort().join("|")})`;
}

const NO_LIMITS: AdapterConfig = {
  base: "",
  rank: 1,
  alpha: 1,
  rslora: false,
  dropout: 0,
  targets: [],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};
