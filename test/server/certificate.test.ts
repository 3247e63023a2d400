import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { connect, createServer, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { newKey, provenKey, requestOf } from "../../proto/key-proof.ts";
import { issueCertificate } from "../../server/identity/certificate.ts";
import { later } from "./setting.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 23);

function keyPair() {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

async function authority() {
  const { privateKey, publicKey } = keyPair();
  const issuer = { name: "test authority", key: privateKey };
  const pem = await issueCertificate(issuer, {
    name: issuer.name,
    publicKey,
    use: "authority",
    nowMs: NOW_MS,
    lifetimeMs: 3650 * DAY_MS,
  });
  return { issuer, pem, certificate: new X509Certificate(pem) };
}

test("an authority signs itself and what it issues; another one's signature does not count", async () => {
  const own = await authority();
  const other = await authority();
  expect(own.certificate.ca).toBe(true);
  expect(own.certificate.verify(own.certificate.publicKey)).toBe(true);
  const client = new X509Certificate(
    await issueCertificate(own.issuer, {
      name: "hospital-7",
      publicKey: keyPair().publicKey,
      use: "client",
      nowMs: NOW_MS,
      lifetimeMs: 90 * DAY_MS,
    }),
  );
  expect(client.subject).toBe("CN=hospital-7");
  expect(client.issuer).toBe("CN=test authority");
  expect(client.ca).toBe(false);
  expect(client.checkIssued(own.certificate)).toBe(true);
  expect(client.verify(own.certificate.publicKey)).toBe(true);
  expect(client.verify(other.certificate.publicKey)).toBe(false);
  expect(client.validFromDate.getTime()).toBe(NOW_MS - 300_000);
  expect(client.validToDate.getTime()).toBe(NOW_MS + 90 * DAY_MS);
});

test("a server's names and addresses are in its certificate", async () => {
  const certificate = new X509Certificate(
    await issueCertificate((await authority()).issuer, {
      name: "coordinator",
      publicKey: keyPair().publicKey,
      use: "server",
      hosts: ["fed.example.org", "10.1.2.3", "::1", "[2001:db8::7]"],
      nowMs: NOW_MS,
      lifetimeMs: DAY_MS,
    }),
  );
  expect(certificate.subjectAltName).toBe(
    "DNS:fed.example.org, IP Address:10.1.2.3, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:0:7",
  );
  expect(certificate.checkHost("fed.example.org")).toBe("fed.example.org");
  expect(certificate.checkHost("evil.example.org")).toBeUndefined();
  expect(certificate.checkIP("10.1.2.3")).toBe("10.1.2.3");
});

test("both sides of a real handshake accept the certificates", async () => {
  const ca = await authority();
  const make = async (use: "server" | "client", name: string) => {
    const { privateKey, publicKey } = keyPair();
    // The handshake goes by the machine's clock.
    const cert = await issueCertificate(ca.issuer, {
      name,
      publicKey,
      use,
      hosts: use === "server" ? ["127.0.0.1"] : [],
      nowMs: systemClock.now(),
      lifetimeMs: DAY_MS,
    });
    return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) };
  };
  const seen = Promise.withResolvers<TLSSocket>();
  const server = createServer(
    { ...(await make("server", "coordinator")), ca: ca.pem, requestCert: true },
    seen.resolve,
  );
  later(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address!.port : 0;
  const client = connect({ ...(await make("client", "site-1")), ca: ca.pem, port, host: "127.0.0.1" });
  await new Promise<void>((resolve, reject) => client.once("secureConnect", resolve).once("error", reject));
  const peer = await seen.promise;
  expect([client.authorized, peer.authorized]).toEqual([true, true]);
  expect(peer.getPeerCertificate().subject.CN).toBe("site-1");
  client.destroy();
});

test("only who holds a key gets a certificate for it", () => {
  const request = requestOf("c1", newKey());
  const { publicKey, proof } = request;
  const known = provenKey("c1", request)?.export({ type: "spki", format: "der" });
  expect(known?.equals(publicKey)).toBe(true);
  expect(provenKey("c2", request)).toBeUndefined();
  expect(provenKey("c1", { ...request, proof: requestOf("c1", newKey()).proof })).toBeUndefined();
  expect(provenKey("c1", { ...request, publicKey: Buffer.from("no key") })).toBeUndefined();
  const weak = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey;
  const weakDer = weak.export({ type: "spki", format: "der" });
  expect(provenKey("c1", { ...request, publicKey: weakDer, proof })).toBeUndefined();
});
