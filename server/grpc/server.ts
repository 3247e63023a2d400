/** The coordinator's gRPC edge. */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { bindWide, SERVER_OPTIONS } from "../../proto/channel.ts";
import type { Peer } from "../../proto/fleet.ts";
import type { Caller } from "../../proto/payload-calls.ts";
import { addFleet } from "../../proto/service.ts";
import type { Coordinator } from "../coordinator.ts";
import type { Certified, Gate } from "../identity/gate.ts";
import { hostOf, isLoopback, namesOf } from "../listening.ts";
import { addHealth } from "./health.ts";
import { limitStrangers } from "./strangers.ts";

export interface GrpcEdge {
  /** "127.0.0.1:7443": what clients join. */
  readonly address: string;
  /** Ends every connection, at once. Clients come back by themselves. */
  close(): void;
}

/**
 * @param listen "host:port"; port 0 takes a free one
 * @param gate with it the edge speaks TLS and serves enrolled sites only
 * @throws FedloomError F4014 off loopback without a gate, F5009 where the address cannot be listened on
 */
export async function serveGrpc(coordinator: Coordinator, listen: string, gate?: Gate): Promise<GrpcEdge> {
  const host = hostOf(listen);
  if (gate === undefined && !isLoopback(host)) {
    throw new FedloomError(
      "F4014",
      `Cannot listen on ${listen}: off loopback a coordinator must use TLS; make its certificate authority with "fedloom ca init", or listen on 127.0.0.1`,
      { listen },
    );
  }
  const peerOf = (call: Caller): Peer => {
    const address = call.getPeer();
    if (gate === undefined) return { address };
    return { address, provenName: gate.check(address, certified(call)) };
  };
  const onRefused = (error: unknown, { address: peer }: Peer, method: string): void =>
    coordinator.log.warn("Call refused", {
      peer,
      method,
      ...(error instanceof FedloomError && { code: error.code }),
      reason: messageOf(error),
    });
  const strangers = limitStrangers({
    clock: coordinator.parts.clock,
    check: peerOf,
    onRefused: (error, call, path) => onRefused(error, { address: call.getPeer() }, path),
  });
  const server = new Server(
    gate === undefined ? SERVER_OPTIONS : { ...SERVER_OPTIONS, interceptors: [strangers] },
  );
  addHealth(server);
  const takeStream = addFleet(
    server,
    (call) => coordinator.fleet(peerOf(call)),
    onRefused,
    gate &&
      ((call) => {
        const known = certified(call);
        const address = call.getPeer();
        return gate.enrolment(
          known === undefined ? { address } : { address, provenName: gate.check(address, known) },
        );
      }),
    coordinator.parts.clock,
  );
  const port = await bindWide(
    server,
    listen,
    gate === undefined ? ServerCredentials.createInsecure() : await tls(gate, host),
    takeStream,
  );
  return { address: `${host}:${port}`, close: () => server.forceShutdown() };
}

async function tls({ authority, names }: Gate, host: string): Promise<ServerCredentials> {
  const { certificate, key } = await authority.server([...namesOf(host), ...names]);
  const root = Buffer.from(authority.pem);
  // The authority travels along: a site that joins knows it by its fingerprint.
  const pair = { cert_chain: Buffer.from(certificate + authority.pem), private_key: Buffer.from(key) };
  return ServerCredentials.createSsl(root, [pair], true);
}

/** What the peer's certificate says; undefined where it shows none that our authority signed. */
function certified(call: Caller): Certified | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const name = certificate?.subject.CN;
  if (certificate === undefined || typeof name !== "string") return undefined;
  const [validFromMs, validToMs] = [certificate.valid_from, certificate.valid_to].map((text) =>
    Date.parse(text),
  );
  return { name, validFromMs: validFromMs!, validToMs: validToMs! };
}
