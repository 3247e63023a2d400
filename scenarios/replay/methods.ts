/**
 * The methods of the replay as data: what each changes in a run's configuration. Those of the published comparison
 * carry the name that its tables give them.
 */
import type { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import type { runConfig } from "../../config/run.ts";
import type { Modality } from "../../data/example.ts";

type RunInput = z.input<typeof runConfig>;

export interface Method {
  readonly name: string;
  readonly title: string;
  /**
   * "zero-shot": the base model. "centralized": one trainer with all training data as it was before it was dealt.
   * "local": every client alone, scores averaged. "federated": a run of the coordinator.
   */
  readonly kind: "zero-shot" | "centralized" | "local" | "federated";
  /** What differs from the protocol's configuration. */
  readonly run?: Pick<RunInput, "strategy" | "wrappers" | "prompt" | "proximal">;
  /** "all": factors beside the encoder's and the connector's layers too; the decoder's alone where absent. */
  readonly train?: "all";
  /** Training and test see these modalities alone; all where absent. */
  readonly keep?: readonly Modality[];
  /** One round with all clients and all local steps in it. */
  readonly oneShot?: true;
  /** The method that this one adds something to, where the report tells the difference. */
  readonly base?: string;
  /** The row of the published tables that this method's numbers stand beside. */
  readonly published?: "FedYogi" | "FedAdam" | "FedAvgM" | "FedAdagrad";
}

const PUBLISHED_ADAPTIVE = { name: "proximal", preset: "fedmllm" } as const;

/** The three forms in which the benchmark combines a rule with its two modality-agnostic strategies. */
function withStrategies(method: Method): Method[] {
  const { published: _, ...rest } = method;
  const plain = { ...rest, base: method.name };
  const wrappers = [...(method.run?.wrappers ?? [])];
  return [
    method,
    {
      ...plain,
      name: `${method.name}+prompt`,
      title: `${method.title}, prompt strategy`,
      run: { ...method.run, prompt: "modality-agnostic" },
    },
    {
      ...plain,
      name: `${method.name}+adaptive`,
      title: `${method.title}, adaptive regularization`,
      run: { ...method.run, wrappers: [...wrappers, { name: "adaptive-proximal" }] },
    },
    {
      ...plain,
      name: `${method.name}+both`,
      title: `${method.title}, both strategies`,
      run: {
        ...method.run,
        prompt: "modality-agnostic",
        wrappers: [...wrappers, { name: "adaptive-proximal" }],
      },
    },
  ];
}

const federated = (
  name: string,
  title: string,
  strategy: RunInput["strategy"],
  more: Partial<Method> = {},
): Method => ({
  name,
  title,
  kind: "federated",
  run: { ...(strategy !== undefined && { strategy }) },
  ...more,
});

/**
 * η and τ of the published presets, ten times as large. Published clients train with learning rates near 2e-5, so that
 * a round moves a weight by about τ = 1e-3 and the rule follows half of it; the replay's small models train with rates
 * a hundred times that, and beside moves of 1e-2 the published τ and η let the rule follow a quarter and less.
 */
const SCALED = { preset: "fedmllm", learningRate: 1e-2, tau: 1e-2 } as const;

export const METHODS: readonly Method[] = [
  { name: "zero-shot", title: "Zero-shot", kind: "zero-shot" },
  { name: "local", title: "Local only", kind: "local" },
  { name: "centralized", title: "Centralized", kind: "centralized" },
  { name: "centralized-text", title: "Centralized, text alone", kind: "centralized", keep: ["text"] },
  { name: "centralized-image", title: "Centralized, images alone", kind: "centralized", keep: ["image"] },
  ...withStrategies(federated("fedavg", "FedAvg", { name: "fedavg" })),
  ...withStrategies(federated("mean", "FedAvg, uniform weights", { name: "fedavg", weights: "uniform" })),
  ...withStrategies(federated("fedprox", "FedProx", { name: "fedprox", mu: 0.01 })),
  ...withStrategies(
    federated("fedavgm", "FedAvgM", { name: "fedavgm", preset: "fedmllm" }, { published: "FedAvgM" }),
  ),
  ...withStrategies(
    federated(
      "fedadagrad",
      "FedAdagrad",
      { name: "fedadagrad", preset: "fedmllm" },
      { published: "FedAdagrad" },
    ),
  ),
  ...withStrategies(
    federated("fedadam", "FedAdam", { name: "fedadam", preset: "fedmllm" }, { published: "FedAdam" }),
  ),
  ...withStrategies(
    federated("fedyogi", "FedYogi", { name: "fedyogi", preset: "fedmllm" }, { published: "FedYogi" }),
  ),
  {
    ...federated("fedavg+published", "FedAvg, published regularization", { name: "fedavg" }),
    run: { strategy: { name: "fedavg" }, wrappers: [PUBLISHED_ADAPTIVE] },
    base: "fedavg",
  },
  federated("fedadagrad-scaled", "FedAdagrad, η and τ tenfold", { name: "fedadagrad", ...SCALED }),
  federated("fedadam-scaled", "FedAdam, η and τ tenfold", { name: "fedadam", ...SCALED }),
  federated("fedyogi-scaled", "FedYogi, η and τ tenfold", { name: "fedyogi", ...SCALED }),
  // Masks part tensors that one modality alone reaches, so they want an adapter beside the encoder too.
  federated("fedavg-wide", "FedAvg, encoder trained too", { name: "fedavg" }, { train: "all" }),
  {
    ...federated("ownership", "FedAvg with ownership masks, encoder trained too", { name: "fedavg" }),
    run: { strategy: { name: "fedavg" }, wrappers: [{ name: "ownership" }] },
    train: "all",
    base: "fedavg-wide",
  },
  federated("fisher", "FedNano's Fisher merging", { name: "fisher" }),
  federated("ffa-lora", "FFA-LoRA", { name: "ffa-lora" }),
  federated("flexlora", "FlexLoRA", { name: "flexlora" }),
  federated("fedex-lora", "FedEx-LoRA", { name: "fedex-lora" }),
  federated("lora-fair", "LoRA-FAIR", { name: "lora-fair" }),
  federated("yoco", "YOCO, one shot", { name: "yoco" }, { oneShot: true }),
  federated("one-shot-mean", "Mean, one shot", { name: "fedavg", weights: "uniform" }, { oneShot: true }),
];

/** @throws FedloomError F6021 naming the known ones */
export function methodNamed(name: string): Method {
  const method = METHODS.find((known) => known.name === name);
  if (method !== undefined) return method;
  const known = METHODS.map((one) => one.name);
  const near = nearest(name, known);
  throw new FedloomError(
    "F6021",
    `Cannot replay method "${name}": ${near === undefined ? "" : `did you mean "${near}"? `}known are ${known.join(", ")}`,
    { name },
  );
}
