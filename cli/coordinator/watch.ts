/** Follows a run of a coordinator in this process on a screen, until it has ended. */
import { type Clock, systemClock } from "../../base/clock.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import { clientsOf, statusOf } from "../../server/status.ts";
import type { RunScreen } from "../screen/run-screen.ts";
import { hasEnded, type RunView } from "../screen/view.ts";
import { viewOf } from "../screen/view-of-status.ts";

/** The clock on the screen and the bars move this often; events are shown at once. */
const TICK_MS = 200;

export function viewNow(coordinator: Coordinator, id: string, clock: Clock = systemClock): RunView {
  return viewOf(statusOf(coordinator, coordinator.engine(id)), clientsOf(coordinator), clock.now());
}

/** @returns the last view; also when `signal` aborts */
export function watchRun(
  coordinator: Coordinator,
  id: string,
  screen: RunScreen,
  signal: AbortSignal,
  clock: Clock = systemClock,
): Promise<RunView> {
  return new Promise((resolve, reject) => {
    let cancelTick = (): void => {};
    const finish = (settle: () => void): void => {
      cancelTick();
      stopEvents();
      signal.removeEventListener("abort", aborted);
      settle();
    };
    const tick = (): void => {
      const view = viewNow(coordinator, id, clock);
      screen.show(view);
      if (hasEnded(view)) finish(() => resolve(view));
      else cancelTick = clock.after(TICK_MS, tick);
    };
    const aborted = (): void => finish(() => resolve(viewNow(coordinator, id, clock)));
    const stopEvents = coordinator.engine(id).onEvent(() => screen.show(viewNow(coordinator, id, clock)));
    signal.addEventListener("abort", aborted, { once: true });
    coordinator.broken.catch((error: unknown) => finish(() => reject(error)));
    if (signal.aborted) aborted();
    else tick();
  });
}
