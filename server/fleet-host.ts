/** What the clients' side of the coordinator may ask of the whole. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Blobs } from "./blobs/blobs.ts";
import type { Dispatcher } from "./dispatch.ts";
import type { Presence } from "./presence.ts";
import type { Failure } from "./records.ts";
import type { Place } from "./work/place.ts";

export interface FleetHost {
  readonly parts: {
    readonly blobs: Blobs;
    readonly clock: Clock;
    readonly dispatcher: Dispatcher;
    readonly presence: Presence;
  };
  readonly log: Log;
  /** @throws FedloomError F4006 for a run that there is not */
  engine(run: string): Place;
  noteFailure(client: string, taskId: string, failure: Failure): Promise<void>;
  onProgress(client: string): void;
}
