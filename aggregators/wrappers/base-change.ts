/** What wrappers that work on the global adapter alone say to rules that also change the base. */
import { FedloomError } from "../../base/errors.ts";
import type { Needs } from "../strategy.ts";

/** @throws FedloomError F3112 */
export function refuseBaseChange(wrapper: string, inner: Needs): void {
  if (inner.changesBase !== true) return;
  throw new FedloomError(
    "F3112",
    `Cannot use wrapper "${wrapper}" around this strategy: it would see the adapter and not what the strategy adds to the base`,
    { wrapper },
  );
}
