/**
 * The cases of a directory of golden vectors (layout: aggregators/README.md), and how each algorithm's name and
 * hyperparameters there read as one of our strategies. An unknown algorithm, setting or expectation is an error.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cast } from "../../adapters/cast.ts";
import { readSafetensors } from "../../adapters/safetensors.ts";
import type { TensorSet } from "../../adapters/tensor.ts";
import type { Spec } from "../../aggregators/options.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface Round {
  readonly round: number;
  readonly num_examples: readonly number[];
  readonly participants?: readonly number[];
  readonly failed_clients?: readonly number[];
  readonly aggregated?: boolean;
  readonly selected?: readonly number[];
  readonly selected_in_order?: readonly number[];
  readonly train_loss?: readonly number[];
  readonly local_steps?: readonly number[];
  readonly staleness?: readonly number[];
  readonly clip_after?: number;
  readonly clipping_norm_after?: number;
}

export interface Case {
  readonly name: string;
  readonly algorithm: string;
  readonly clients: number;
  readonly hyperparameters: Readonly<Record<string, Json>>;
  readonly perRound: readonly Round[];
  /** How far the recorded float32 results lie from exact arithmetic, relative to a tensor's largest entry; 0 where not told. */
  readonly float32Deviation: number;
  /** LoRA cases: one round, ranks and scales for each client. */
  readonly lora?: {
    readonly ranks: readonly number[];
    readonly scalings: readonly number[];
    readonly examples: readonly number[];
    readonly modules: Readonly<Record<string, readonly [number, number]>>;
  };
  /** All widened to float64. */
  readonly inputs: TensorSet;
  readonly expected: TensorSet;
}

/** Every folder that holds a case.json, whether the index lists it or not. */
export function readCases(directory: string): Case[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((item) => item.isDirectory())
    .map(({ name }) => readCase(directory, name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readCase(directory: string, name: string): Case {
  const read = (file: string) => readFileSync(join(directory, name, file));
  const json = JSON.parse(read("case.json").toString("utf8"));
  const wide = (file: string): TensorSet =>
    new Map([...readSafetensors(read(file), file)].map(([key, value]) => [key, cast(value, "F64")]));
  return {
    name,
    algorithm: json.algorithm,
    clients: json.clients,
    hyperparameters: json.hyperparameters ?? {},
    perRound: json.per_round ?? [],
    float32Deviation: json.float64_recomputation_max_rel_dev ?? 0,
    ...(json.modules !== undefined && {
      lora: {
        ranks: json.ranks,
        scalings: json.scalings,
        examples: json.num_examples,
        modules: json.modules,
      },
    }),
    inputs: wide("inputs.safetensors"),
    expected: wide("expected.safetensors"),
  };
}

export interface Reading {
  readonly strategy: Spec;
  readonly wrappers?: readonly Spec[];
  /** Sets of `r<round>.state.<set>.<tensor>` by our names, a minus where the sign is the other. */
  readonly states?: Readonly<Record<string, string>>;
  /** Those of one client: the group is its number. */
  readonly clientState?: RegExp;
  readonly totalClients?: number;
  /** Least share of clients that must answer for a round to count. */
  readonly completion?: number;
  readonly learningRate?: number;
}

/** Reads hyperparameters by name and complains about those that nobody asked for. */
class Settings {
  readonly #left: Map<string, Json>;
  readonly #owner: string;

  constructor({ name, hyperparameters }: Case) {
    this.#owner = name;
    this.#left = new Map(Object.entries(hyperparameters));
  }

  number(key: string): number {
    const value = this.take(key);
    if (typeof value !== "number") throw new Error(`${this.#owner}: "${key}" must be a number, got ${value}`);
    return value;
  }

  /** A text with one meaning each; another text is refused. */
  choice<T>(key: string, meanings: Readonly<Record<string, T>>): T {
    const value = String(this.take(key));
    if (!Object.hasOwn(meanings, value)) throw new Error(`${this.#owner}: unknown "${key}": ${value}`);
    return meanings[value]!;
  }

  take(key: string): Json | undefined {
    const value = this.#left.get(key);
    this.#left.delete(key);
    return value;
  }

  done(): void {
    if (this.#left.size > 0)
      throw new Error(`${this.#owner}: unknown settings ${[...this.#left.keys()].join(", ")}`);
  }
}

const WEIGHTS = { examples: "examples", uniform: "uniform", weighted: "examples", undefined: "examples" };
const MOMENTS = { m: "m", v: "v" };

type Reader = (s: Settings) => Reading;

/** Flower's adaptive rules; `eta_l` never reaches its server. */
function flowerOpt(name: string): Reader {
  return (s) => {
    s.take("eta_l");
    const beta2 = s.take("beta_2");
    return {
      strategy: {
        name,
        preset: "flower",
        learningRate: s.number("eta"),
        beta1: s.number("beta_1"),
        ...(beta2 !== undefined && { beta2 }),
        tau: s.number("tau"),
      },
      states: MOMENTS,
    };
  };
}

function paperOpt(name: string): Reader {
  return (s) => ({
    strategy: {
      name,
      preset: "paper",
      learningRate: s.number("eta"),
      beta1: s.number("beta_1"),
      beta2: s.number("beta_2"),
      tau: s.number("tau"),
      initialV: s.choice("v_init", { "tau^2": "tau^2", "0": 0 }),
      biasCorrection: s.choice("bias_correction", { false: "none" }),
      weights: s.choice("delta", { "example-weighted mean": "examples", "plain mean": "uniform" }),
    },
    states: MOMENTS,
  });
}

function flowerClip(s: Settings): Spec {
  s.choice("noise_multiplier", { 0: 0 });
  s.number("num_sampled_clients");
  return { name: "clip" };
}

const krumBy =
  (preset: string): Reader =>
  (s) => {
    const select = s.take("num_to_select");
    return {
      strategy: {
        name: "krum",
        preset,
        byzantine: s.number("num_malicious"),
        ...(select !== undefined && select !== 0 && { select }), // Flower's 0 is plain Krum
      },
    };
  };

export const READINGS: Readonly<Record<string, Reader>> = {
  FedAvg: () => ({ strategy: { name: "fedavg" } }),
  "unweighted mean": () => ({ strategy: { name: "fedavg", weights: "uniform" } }),
  FaultTolerantFedAvg: (s) => ({
    strategy: { name: "fedavg" },
    completion: s.number("min_completion_rate_fit"),
  }),
  FedAvgM: (s) => ({
    strategy: {
      name: "fedavgm",
      preset: "flower",
      learningRate: s.number("server_learning_rate"),
      momentum: s.number("server_momentum"),
    },
    states: { momentum: "-v" }, // Flower adds up w − mean, the other way round
  }),
  FedAdagrad: flowerOpt("fedadagrad"),
  FedAdam: flowerOpt("fedadam"),
  FedYogi: flowerOpt("fedyogi"),
  "FedAdagrad as in the paper": paperOpt("fedadagrad"),
  "FedAdam as in the paper": paperOpt("fedadam"),
  "FedYogi as in the paper": paperOpt("fedyogi"),
  QFedAvg: (s) => ({
    strategy: {
      name: "qfedavg",
      preset: "flower",
      q: s.number("q"),
      learningRate: s.number("client_learning_rate"),
      lossOffset: s.number("loss_offset"),
    },
  }),
  FedMedian: () => ({ strategy: { name: "median" } }),
  FedTrimmedAvg: (s) => ({ strategy: { name: "trimmed-mean", beta: s.number("beta") } }),
  Krum: krumBy("flower"),
  MultiKrum: krumBy("flower"),
  Bulyan: (s) => ({
    strategy: {
      name: "bulyan",
      guarantee: false,
      byzantine: s.number("num_malicious"),
      selection: s.choice("selection", {
        "top theta by one Krum ranking": "single-ranking",
        "Krum re-run after removing each winner (the paper's way)": "iterated",
      }),
    },
  }),
  "DP server-side fixed clipping around FedAvg": (s) => ({
    strategy: { name: "fedavg" },
    wrappers: [{ ...flowerClip(s), norm: s.number("clipping_norm") }],
  }),
  "DP server-side fixed clipping around FedAdam": (s) => ({
    ...flowerOpt("fedadam")(s),
    wrappers: [{ ...flowerClip(s), norm: s.number("clipping_norm") }],
  }),
  "DP server-side adaptive clipping around FedAvg": (s) => ({
    strategy: { name: "fedavg" },
    wrappers: [
      {
        ...flowerClip(s),
        norm: s.number("initial_clipping_norm"),
        adaptive: {
          share: "clipped",
          target: s.number("target_clipped_quantile"),
          learningRate: s.number("clip_norm_lr"),
          countNoise: s.number("clipped_count_stddev"),
        },
      },
    ],
  }),
  "adaptive clipping by quantile, noise 0": (s) => ({
    strategy: { name: "fedavg", weights: s.choice("mean", WEIGHTS) },
    wrappers: [
      {
        name: "clip",
        norm: s.number("initial_clip"),
        adaptive: { target: s.number("target_quantile"), learningRate: s.number("lr") },
      },
    ],
  }),
  "norm-clipped mean": (s) => ({
    strategy: { name: "norm-clipping", norm: s.number("clip"), weights: s.choice("weights", WEIGHTS) },
  }),
  "centered clipping": (s) => {
    s.choice("start", { "previous round's aggregated update; zero at first": true });
    s.choice("weights", { uniform: true });
    return {
      strategy: { name: "centered-clipping", radius: s.number("tau"), iterations: s.number("iterations") },
      states: { v: "v" },
    };
  },
  "RFA (smoothed geometric median)": (s) => {
    s.choice("init", { "weighted mean": true });
    s.take("tolerance");
    return {
      strategy: {
        name: "rfa",
        preset: "converged",
        smoothing: s.number("nu"),
        weights: s.choice("weights", WEIGHTS),
      },
    };
  },
  "SCAFFOLD option II": (s) => {
    s.choice("weights", { uniform: true });
    return {
      strategy: {
        name: "scaffold",
        learningRate: s.number("global_lr"),
        clientLearningRate: s.number("local_lr"),
      },
      totalClients: s.number("total_clients"),
      states: { c: "control" },
      clientState: /^c(\d+)$/,
    };
  },
  FedNova: (s) => {
    s.choice("local", { sgd: true, momentum: true, proximal: true });
    return {
      strategy: {
        name: "fednova",
        momentum: s.number("momentum"),
        mu: s.number("mu"),
        clientLearningRate: s.number("local_lr"),
      },
    };
  },
  FedDyn: (s) => {
    s.choice("weights", { uniform: true });
    return {
      strategy: { name: "feddyn", alpha: s.number("alpha") },
      totalClients: s.number("total_clients"),
      states: { h: "h" },
      clientState: /^client(\d+)$/,
    };
  },
  "Fisher-weighted merging": (s) => ({
    strategy: { name: "fisher", floor: s.number("eps"), weights: s.choice("lam", WEIGHTS) },
  }),
  "FedBuff step": (s) => {
    s.choice("normaliser", { "K (count), not the sum of staleness weights": true });
    const staleness = String(s.take("staleness"));
    const exponent = /^\(1\+s\)\^-([\d.]+)$/.exec(staleness)?.[1] ?? (staleness === "1" ? "0" : undefined);
    if (exponent === undefined) throw new Error(`unknown staleness weight "${staleness}"`);
    return {
      strategy: { name: "fedbuff", learningRate: s.number("server_lr"), stalenessExponent: Number(exponent) },
    };
  },
  "FLoRA stacking": (s) => {
    s.choice("scaling", { "alpha_k/r_k": true });
    s.choice("where", { "p_k*s_k put on the B columns": true, "p_k*s_k put on the A rows": true });
    return { strategy: { name: "flora", weights: s.choice("weights", WEIGHTS) } };
  },
  "FedEx-LoRA": (s) => {
    s.choice("scaling", { "alpha/r": true });
    return { strategy: { name: "fedex-lora", weights: s.choice("weights", WEIGHTS) } };
  },
  FlexLoRA: (s) => {
    s.choice("scaling", { "alpha_k/r_k inside the sum": true });
    return { strategy: { name: "flexlora", weights: s.choice("weights", WEIGHTS) } };
  },
  HetLoRA: (s) => {
    s.choice("padding", { "zeros up to the largest rank": true, zeros: true });
    s.take("weights_by_module");
    s.take("client_weights");
    const normOf = s.choice("weights", {
      "per module ||B_k A_k||_F / sum": "module",
      "one per client: sqrt(sum over modules ||B_k A_k||_F^2)": "adapter",
    });
    return { strategy: { name: "hetlora", normOf } };
  },
  "FedIT (A and B averaged separately)": (s) => ({
    strategy: { name: "fedit", weights: s.choice("weights", WEIGHTS) },
  }),
};

/** @throws Error naming the case and what of it is unknown */
export function readingOf(golden: Case): Reading {
  const reader = READINGS[golden.algorithm];
  if (reader === undefined) {
    throw new Error(
      `${golden.name}: unknown algorithm "${golden.algorithm}"; known are ${Object.keys(READINGS).join(", ")}`,
    );
  }
  const settings = new Settings(golden);
  const reading = reader(settings);
  settings.done();
  return reading;
}
