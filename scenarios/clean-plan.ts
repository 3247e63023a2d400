/**
 * A partition of any dataset by fedloom's own dealers and masks: nothing left over, nobody empty, impossible requests
 * refused with the bound.
 *
 * Text can be taken away only where it stands apart from the question (examples with a template); elsewhere it always
 * stays. Where a dataset mixes examples with and without pictures, cross and hybrid deal each kind to the clients that
 * hold it, as the benchmark's medical sets are dealt.
 */
import { FedloomError } from "../base/errors.ts";
import { createRng, type Rng } from "../base/rng.ts";
import { type Example, type Modality, modalitiesOf } from "../data/example.ts";
import type { ShardEntry } from "../data/shards.ts";
import type { Assignment, DealOptions } from "./generators/assignment.ts";
import {
  dealDirichlet,
  dealIid,
  dealLabelShards,
  dealNaturally,
  dealQuantities,
} from "./generators/dealers.ts";
import { keepOf, type ModalityMask } from "./generators/modalities.ts";
import { type Plan, partitionOf } from "./plan.ts";

export type Deal =
  | { readonly name: "iid" }
  | { readonly name: "dirichlet"; readonly alpha: number }
  | { readonly name: "label-shards"; readonly shardsPerClient: number }
  | { readonly name: "quantity"; readonly alpha: number }
  /** By a field of the examples: all with the same value at one client. */
  | { readonly name: "natural"; readonly field: string };

export const DEAL_NAMES = ["iid", "dirichlet", "label-shards", "quantity", "natural"] as const;

export interface CleanRequest {
  readonly what: string;
  readonly examples: readonly Example[];
  readonly deal: Deal;
  readonly mask: ModalityMask;
  readonly clients: number;
  readonly seed: number | string;
  readonly minPerClient?: number;
}

/** @throws FedloomError F6001 with the feasible bound */
export function cleanPlan(request: CleanRequest): Plan {
  const { examples, mask } = request;
  const rng = createRng(request.seed).fork("partition");
  const pictured = examples.filter((example) => example.images.length > 0);
  const mixed = pictured.length > 0 && pictured.length < examples.length;
  const shards =
    mixed && mask.name !== "aligned" ? dealByKind(request, rng) : dealAndMask(request, examples, rng);
  return {
    title: `${request.what}, ${describe(request.deal)}, ${describe(mask)} (clean, seed ${request.seed})`,
    partition: partitionOf(shards),
    labels: new Map(examples.map((example) => [example.id, labelOf(example)])),
    notes: [],
    publishedFiles: new Map(),
  };
}

const labelOf = (example: Example): string => example.label ?? "(no label)";

function describe(value: Deal | ModalityMask): string {
  const rest = Object.entries(value).filter(([key]) => key !== "name");
  return [value.name, ...rest.map(([key, setting]) => `${key} ${String(setting)}`)].join(" ");
}

function dealExamples(
  request: CleanRequest,
  examples: readonly Example[],
  options: DealOptions,
  rng: Rng,
): Assignment {
  const { deal } = request;
  const labels = examples.map(labelOf);
  switch (deal.name) {
    case "iid":
      return dealIid(labels, options, rng);
    case "dirichlet":
      return dealDirichlet(labels, { ...options, alpha: deal.alpha }, rng);
    case "label-shards":
      return dealLabelShards(labels, { ...options, shardsPerClient: deal.shardsPerClient }, rng);
    case "quantity":
      return dealQuantities(labels, { ...options, alpha: deal.alpha }, rng);
    case "natural":
      return dealNaturally(
        examples.map((example) => fieldOf(example, deal.field)),
        options,
        rng,
      );
    default:
      return deal satisfies never;
  }
}

function fieldOf(example: Example, field: string): string {
  const value = field === "label" ? example.label : example.fields?.[field];
  if (value !== undefined) return value;
  const known = ["label", ...Object.keys(example.fields ?? {})].join(", ");
  throw new FedloomError("F6001", `Cannot deal by "${field}": example "${example.id}" has ${known}`, {
    field,
  });
}

function optionsOf(request: CleanRequest, clients: number): DealOptions {
  const { minPerClient } = request;
  return minPerClient === undefined ? { clients } : { clients, minPerClient };
}

function dealAndMask(request: CleanRequest, examples: readonly Example[], rng: Rng): ShardEntry[][] {
  const assignment = dealExamples(request, examples, optionsOf(request, request.clients), rng.fork("deal"));
  const keep = keepOf(request.mask, assignment, rng.fork("mask"));
  return assignment.map((own, client) =>
    own.map((index, i) => ({ id: examples[index]!.id, keep: keptOf(examples[index]!, keep[client]![i]!) })),
  );
}

/** What the mask leaves of what the example has. */
function keptOf(example: Example, keep: readonly Modality[]): Modality[] {
  return modalitiesOf(example).filter(
    (modality) =>
      modality === "audio" ||
      keep.includes(modality) ||
      (modality === "text" && example.template === undefined),
  );
}

/** Pictured examples to clients with pictures, the others to clients with text. */
function dealByKind(request: CleanRequest, rng: Rng): ShardEntry[][] {
  const { mask, clients, examples } = request;
  if (mask.name === "missing") {
    throw new FedloomError(
      "F6001",
      "Cannot let modalities be missing in a dataset that mixes examples with and without pictures: feasible are aligned, cross and hybrid",
      { mask: mask.name },
    );
  }
  // One stand-in example for each client, to draw what clients keep with the same rule.
  const drawn = keepOf(
    mask,
    Array.from({ length: clients }, (_, i) => [i]),
    rng.fork("mask"),
  ).map((own) => own[0]!);
  const shards: ShardEntry[][] = Array.from({ length: clients }, () => []);
  for (const kind of ["image", "text"] as const) {
    const own = examples.filter((example) => example.images.length > 0 === (kind === "image"));
    const holders = [...drawn.keys()].filter((client) => drawn[client]!.includes(kind));
    if (holders.length === 0) {
      throw new FedloomError(
        "F6001",
        `Cannot deal ${own.length} examples with ${kind}: no client keeps ${kind}`,
        { kind },
      );
    }
    const assignment = dealExamples(request, own, optionsOf(request, holders.length), rng.fork("deal", kind));
    for (const [i, indices] of assignment.entries()) {
      for (const index of indices)
        shards[holders[i]!]!.push({ id: own[index]!.id, keep: modalitiesOf(own[index]!) });
    }
  }
  return shards.map((shard, client) => rng.fork("mix", client).shuffle(shard));
}
