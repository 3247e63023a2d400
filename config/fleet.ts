/** The section `fleet` of a run file: clients in this process, what they hold, and how they differ. */
import { z } from "zod";
import { byteSize } from "./byte-size.ts";

/** For runs without a coordinator of their own. All chance in it comes from the run's seed. */
export const fleetSection = z.strictObject({
  clients: z.int().positive(),
  partition: z.string().min(1).optional(),
  data: z.string().min(1),
  /**
   * Clients of a round that train in one pass at most; true: as many as gain something. Off, clients train one after
   * the other, and the run ends with the bits of a networked one. On where it is absent.
   */
  batching: z.union([z.boolean(), z.int().min(1).max(1024)]).optional(),
  /** Memory that these passes may take; half of what is free where it is absent. */
  memory: byteSize.optional(),
  /** Wrong answers in training: of each noisy client's examples exactly this share. */
  labelNoise: z
    .strictObject({
      rate: z.number().min(0).max(1),
      kind: z.enum(["symmetric", "pair"]).default("symmetric"),
      /** Noisy clients; all where it is absent. */
      clients: z.int().positive().optional(),
    })
    .optional(),
  /** What the clients run on: shares need not sum to 1. */
  devices: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        share: z.number().positive(),
        /** LoRA rank of such a client; the run's where it is absent. */
        rank: z.int().min(1).max(1024).optional(),
        /** Training time as a multiple of the fastest device's. */
        slowness: z.number().min(1).default(1),
      }),
    )
    .min(1)
    .optional(),
  /** Share of the rounds that a client is away for, and the chance that one who is away stays so. */
  availability: z
    .strictObject({ away: z.number().min(0).max(0.95), stay: z.number().min(0).max(0.99).default(0) })
    .optional(),
  /** Who misses a round's deadline: a client whose training takes longer than `patience`. */
  stragglers: z
    .strictObject({
      /** Chance that a client is slow in a round, and how many times slower it is then. */
      share: z.number().min(0).max(1).default(0),
      slowness: z.number().min(1).default(1),
      /** How long a round waits, as a multiple of the fastest device's training time. */
      patience: z.number().min(1),
    })
    .optional(),
  /** Clients that do harm: with wrong answers, or with a changed update. */
  poisoned: z
    .strictObject({
      clients: z.int().positive(),
      kind: z.enum(["label-flip", "sign-flip", "noise", "scale"]),
      /** The harm as a multiple of the honest change; a label-flipper's is in its data. */
      strength: z.number().positive().default(10),
    })
    .optional(),
});

export type FleetSection = z.output<typeof fleetSection>;

/** What of a run decides whether its fleet can be. */
interface RunParts {
  readonly adapter: { readonly rank: number; readonly from?: string | undefined };
  readonly codec: string;
  readonly cohort: { readonly mode?: "sync" | "async" | undefined };
  readonly fleet?: FleetSection | undefined;
}

/** Whether clients of this run train adapters of another rank than the global one. */
export function mixesRanks({ adapter, fleet }: Pick<RunParts, "adapter" | "fleet">): boolean {
  return fleet?.devices?.some(({ rank }) => rank !== undefined && rank !== adapter.rank) === true;
}

export interface FleetConflict {
  readonly path: readonly (string | number)[];
  readonly error: string;
}

/** What no single key of `fleet` shows. */
export function fleetConflicts({ adapter, codec, cohort, fleet }: RunParts): FleetConflict[] {
  if (fleet === undefined) return [];
  const conflicts: FleetConflict[] = [];
  for (const part of ["availability", "stragglers"] as const) {
    if (cohort.mode !== "async" || fleet[part] === undefined) continue;
    const error =
      "is for rounds that open and close for all clients together; cohort.mode async has none, devices with a slowness are late there";
    conflicts.push({ path: [part], error });
  }
  for (const part of ["labelNoise", "poisoned"] as const) {
    const wanted = fleet[part]?.clients ?? 0;
    if (wanted <= fleet.clients) continue;
    const error = `must be at most fleet.clients, which is ${fleet.clients}, got ${wanted}`;
    conflicts.push({ path: [part, "clients"], error });
  }
  for (const [i, { rank = 0 }] of (fleet.devices ?? []).entries()) {
    // The rank of an adapter that is read from a directory shows when it is read.
    if (adapter.from !== undefined || rank <= adapter.rank) continue;
    const error = `must be at most adapter.rank, which is ${adapter.rank}, got ${rank}`;
    conflicts.push({ path: ["devices", i, "rank"], error });
  }
  if (mixesRanks({ adapter, fleet }) && codec !== "fp32") {
    const error = `with ranks other than adapter.rank the codec must be "fp32", got "${codec}": others count from a handed-out adapter of the same shape`;
    conflicts.push({ path: ["devices"], error });
  }
  return conflicts;
}
