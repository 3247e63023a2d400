/** A site's way to its certificate: once with a join token, later with the certificate it has. */
import { X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { FedloomError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { EnrollRequestSchema, RenewRequestSchema } from "./gen/fedloom/v1/fleet_pb.ts";
import { parseJoinToken } from "./join-token.ts";
import { newKey, requestOf } from "./key-proof.ts";
import { connectFleet } from "./service.ts";

/** PEM texts. */
export interface Identity {
  readonly name: string;
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

/** Time to shake hands; an address where nobody answers must not hold a start up for minutes. */
const HANDSHAKE_MS = 15_000;

/**
 * Trades the token for a certificate of the key. The token is spent after it, on this key: where the answer got lost, the
 * same token and key get a certificate again, as long as the token counts.
 *
 * @param address "host:port" of the coordinator
 * @param key PEM; a fresh one where it is absent
 * @throws FedloomError F5012 for a token that is damaged, spent or expired, F5013 where the coordinator is not the token's
 */
export async function enroll(
  address: string,
  tokenText: string,
  signal: AbortSignal,
  key = newKey(),
): Promise<Identity> {
  const { name, fingerprint, secret } = parseJoinToken(tokenText);
  const authority = await authorityAt(address, fingerprint);
  const fleet = connectFleet(address, credentials.createSsl(Buffer.from(authority)));
  try {
    const request = create(EnrollRequestSchema, { clientId: name, secret, key: requestOf(name, key) });
    const { certificatePem } = await fleet.enroll(request, signal);
    return { name, authority, certificate: certificatePem, key };
  } finally {
    fleet.close();
  }
}

/** A new key and certificate for a site whose own one still counts. */
export async function renew(address: string, identity: Identity, signal: AbortSignal): Promise<Identity> {
  const { name, authority, certificate, key: oldKey } = identity;
  const own = credentials.createSsl(Buffer.from(authority), Buffer.from(oldKey), Buffer.from(certificate));
  const fleet = connectFleet(address, own);
  try {
    const key = newKey();
    const request = create(RenewRequestSchema, { clientId: name, key: requestOf(name, key) });
    const { certificatePem } = await fleet.renew(request, signal);
    return { name, authority, certificate: certificatePem, key };
  } finally {
    fleet.close();
  }
}

/** When a certificate stops counting, in milliseconds since 1970. */
export function expiryOf(certificatePem: string): number {
  return new X509Certificate(certificatePem).validToDate.getTime();
}

/** Whether a third of a certificate's life or less is left. */
export function renewalDue(certificatePem: string, nowMs: number): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certificatePem);
  const [from, to] = [validFromDate.getTime(), validToDate.getTime()];
  return to - nowMs < (to - from) / 3;
}

/**
 * The authority that the coordinator shows, if it is the one that the token names. Nothing is sent to whoever
 * answers before that is known.
 */
function authorityAt(address: string, fingerprint: string): Promise<string> {
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    // Not authorized by any authority yet: that is what this finds out, by the fingerprint.
    const socket = connect({
      host,
      port: Number(address.slice(at + 1)),
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
    });
    const fail = (code: "F5001" | "F5013", reason: string, cause?: unknown): void => {
      socket.destroy();
      reject(
        new FedloomError(
          code,
          `Cannot join the coordinator at ${address}: ${reason}`,
          { address },
          { cause },
        ),
      );
    };
    socket.setTimeout(HANDSHAKE_MS, () => fail("F5001", `no answer within ${HANDSHAKE_MS / 1000} s`));
    socket.once("error", (cause) => fail("F5001", cause.message, cause));
    socket.once("secureConnect", () => {
      let shown = socket.getPeerX509Certificate();
      while (shown !== undefined && sha256(shown.raw) !== fingerprint) shown = shown.issuerCertificate;
      if (shown === undefined) {
        fail(
          "F5013",
          "it is not the one that the join token was made by; check the address, and ask for a new token",
        );
        return;
      }
      socket.destroy();
      resolve(shown.toString());
    });
  });
}
