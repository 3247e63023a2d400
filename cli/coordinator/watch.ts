/** Follows a run of a coordinator in this process on a screen, until it has ended. */
import { type Clock, systemClock } from "../../base/clock.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import type { RunScreen } from "../screen/run-screen.ts";
import { hasEnded, type RunView } from "../screen/view.ts";
import { runViewOf } from "./run-view.ts";

/** The clock on the screen and bars of silent clients move this often. */
const TICK_MS = 200;

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
    const look = (): RunView => {
      const view = runViewOf(coordinator, id);
      screen.show(view);
      return view;
    };
    const tick = (): void => {
      const view = look();
      if (hasEnded(view)) finish(() => resolve(view));
      else cancelTick = clock.after(TICK_MS, tick);
    };
    const aborted = (): void => finish(() => resolve(runViewOf(coordinator, id)));
    const stopEvents = coordinator.engine(id).onEvent(look);
    signal.addEventListener("abort", aborted, { once: true });
    coordinator.broken.catch((error: unknown) => finish(() => reject(error)));
    if (signal.aborted) aborted();
    else tick();
  });
}
