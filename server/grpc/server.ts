/** The coordinator's gRPC edge. */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { bindWide, SERVER_OPTIONS } from "../../proto/channel.ts";
import { addFleet } from "../../proto/service.ts";
import type { Coordinator } from "../coordinator.ts";
import { hostOf, isLoopback } from "../listening.ts";

export interface GrpcEdge {
  /** "127.0.0.1:7443": what clients join. */
  readonly address: string;
  /** Ends every connection, at once. Clients come back by themselves. */
  close(): void;
}

/**
 * @param listen "host:port"; port 0 takes a free one
 * @throws FedloomError F4014 off loopback without TLS, F5009 where the address cannot be listened on
 */
export async function serveGrpc(coordinator: Coordinator, listen: string): Promise<GrpcEdge> {
  const host = hostOf(listen);
  if (!isLoopback(host)) {
    throw new FedloomError(
      "F4014",
      `Cannot listen on ${listen}: off loopback a coordinator must use TLS; listen on 127.0.0.1, or set up TLS`,
      { listen },
    );
  }
  const server = new Server(SERVER_OPTIONS);
  addFleet(
    server,
    (call) => coordinator.fleet({ address: call.getPeer() }),
    (error, peer, method) =>
      coordinator.log.warn("Call refused", {
        peer: peer.address,
        method,
        ...(error instanceof FedloomError && { code: error.code }),
        reason: messageOf(error),
      }),
  );
  const port = await bindWide(server, listen, ServerCredentials.createInsecure());
  return { address: `${host}:${port}`, close: () => server.forceShutdown() };
}
