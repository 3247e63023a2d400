/** A node at work for a coordinator, by the certificate that it has: looked after while it runs, renewed in time. */
import { randomUUID } from "node:crypto";
import { FedloomError } from "../../base/errors.ts";
import { errorFields } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { type Credentials, channelCredentials, INSECURE } from "../../client/credentials.ts";
import { type NodeOptions, runNode } from "../../client/node.ts";
import { holdConnectionInThread } from "../../client/standing-thread.ts";
import type { Identity } from "../../proto/enroll.ts";
import { connectFleet } from "../../proto/service.ts";

/** How often a running client looks whether its certificate is to be renewed: often enough for one of a day. */
export const RENEWAL_LOOK_MS = 3_600_000;

export interface ServiceOptions extends Omit<NodeOptions, "fleet" | "open" | "rng"> {
  /** "host:port" of the coordinator. */
  readonly address: string;
  /** Undefined without TLS. */
  readonly identity: Identity | undefined;
  /** The identity as it should be now: renewed where that is due. */
  identify(): Promise<Identity | undefined>;
}

/**
 * Works until `signal` aborts, and then resolves.
 *
 * @throws FedloomError F5014 once its certificate counts no more, and whatever ends a node
 */
export async function serve({ identity: first, ...options }: ServiceOptions): Promise<void> {
  let identity = first;
  while (!options.signal.aborted) identity = await serveUntilRenewal({ ...options, identity });
}

/**
 * A connection shows the certificate that it was opened with, so that a renewed one begins a new one. What is in work
 * then begins anew, once in two months.
 *
 * @returns the identity to go on with
 */
async function serveUntilRenewal({
  address,
  identity,
  identify,
  ...options
}: ServiceOptions): Promise<Identity | undefined> {
  const { log, clock } = options;
  const credentials: Credentials = identity === undefined ? INSECURE : { kind: "tls", ...identity };
  const fleet = connectFleet(address, channelCredentials(credentials));
  // Not secret and not reproducible on purpose: it only spreads the reconnects of many clients over time.
  const seed = randomUUID();
  const leaving = new AbortController();
  let cancelLook = (): void => undefined;
  let current = identity;
  let expired: FedloomError | undefined;
  const look = async (): Promise<void> => {
    try {
      current = await identify();
    } catch (error) {
      if (error instanceof FedloomError && error.code === "F5014") {
        expired = error;
        return leaving.abort();
      }
      log.error("The certificate cannot be renewed", errorFields(error));
    }
    if (current?.certificate !== identity?.certificate) leaving.abort();
    else waitForLook();
  };
  const waitForLook = (): void => {
    if (!leaving.signal.aborted) cancelLook = clock.after(RENEWAL_LOOK_MS, () => void look());
  };
  if (identity !== undefined) waitForLook();
  try {
    await runNode({
      ...options,
      fleet,
      open: (hello, events) => holdConnectionInThread(address, credentials, hello, events, seed),
      rng: createRng(seed),
      signal: AbortSignal.any([options.signal, leaving.signal]),
    });
    if (expired !== undefined) throw expired;
    return current;
  } finally {
    leaving.abort();
    cancelLook();
    fleet.close();
  }
}
