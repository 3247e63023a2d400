/** Waits until enough clients are there, then draws the round's cohort, or who trains next in an asynchronous run. */
import { FedloomError } from "../../base/errors.ts";
import type { RunCommand, RunWork } from "../run/state.ts";
import type { Place } from "./place.ts";

type Choice = RunWork & { readonly kind: "choose" };

export function choose(place: Place, work: Choice, signal: AbortSignal): Promise<RunCommand> {
  const { presence, clock, samplers } = place.parts;
  const { config } = place.row;
  return new Promise((resolve, reject) => {
    let stopWaiting = (): void => undefined;
    const stopListening = presence.onChange(() => draw());
    const end = (): void => {
      stopWaiting();
      stopListening();
    };
    signal.addEventListener("abort", end, { once: true });

    const draw = (): void => {
      const population = eligible(place);
      const free = population.filter((client) => !work.keep.includes(client));
      if (free.length < work.least) return;
      const sampler = samplers[config.cohort.sampling];
      end();
      if (sampler === undefined) {
        const known = Object.keys(samplers).join(", ");
        reject(
          new FedloomError(
            "F1001",
            `Cannot draw clients with cohort.sampling "${config.cohort.sampling}": this coordinator knows ${known}`,
          ),
        );
        return;
      }
      const { round, attempt } = work;
      const drawn = work.draw === undefined ? {} : { draw: work.draw };
      const count = Math.min(work.count, free.length);
      const chosen = sampler({ seed: config.seed, round, attempt, ...drawn, eligible: free, count });
      resolve({ type: "choose", round, attempt, ...drawn, population, chosen });
    };

    const { withinMs } = work;
    if (withinMs !== undefined) {
      stopWaiting = clock.after(withinMs, () => {
        end();
        const there = eligible(place).length;
        reject(
          new FedloomError(
            "F4016",
            `Cannot open round ${work.round}: at least ${work.least} more clients are wanted within ${withinMs / 1000} s, got ${there}`,
            { round: work.round, wanted: work.least, got: there },
          ),
        );
      });
    }
    draw();
  });
}

/** Clients that the run may draw from: invited, with its base model, and with something to train on. In byte order. */
export function eligible({ parts, row: { config }, run, idleMs }: Place): string[] {
  const { presence } = parts;
  const invited = config.clients === undefined ? undefined : new Set(config.clients);
  return presence.present(idleMs()).filter((client) => {
    if (invited?.has(client) === false || parts.admits?.(client) === false) return false;
    const inventory = presence.inventory(client);
    // Known from before this process began: it was eligible then.
    if (inventory === undefined) return run.population.has(client);
    const sameBase = inventory.baseModel === "" || run.base === "" || inventory.baseModel === run.base;
    return sameBase && Object.values(inventory.examples).some((count) => count > 0n);
  });
}
