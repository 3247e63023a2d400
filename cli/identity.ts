/** A site's certificate in its state directory: traded for a join token once, renewed before it runs out. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { replaceSecret } from "../adapters/durable-file.ts";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { sha256 } from "../base/hash.ts";
import { errorFields, type Log } from "../base/log.ts";
import { enroll, expiryOf, type Identity, renew, renewalDue } from "../proto/enroll.ts";
import { parseJoinToken } from "../proto/join-token.ts";
import { newKey } from "../proto/key-proof.ts";

const stored = z.object({
  name: z.string(),
  authority: z.string(),
  certificate: z.string(),
  key: z.string(),
  /** SHA-256 of the join token that is spent. */
  joinedWith: z.string().exactOptional(),
});

type Held = z.output<typeof stored>;

/** The key that a join token is being traded for a certificate of: whoever asks again must ask with the same one. */
const asked = z.object({ joinedWith: z.string(), key: z.string() });

export interface IdentityOptions {
  /** "host:port" of the coordinator. */
  readonly address: string;
  /** The join token that the site was started with. */
  readonly token: string | undefined;
  /** The name that the site was started with. */
  readonly name?: string | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/**
 * The site's certificate, traded for a token or renewed where a third of its life or less is left. A token that the site
 * was enrolled with is spent and means nothing any more; a new one enrolls it anew.
 *
 * @returns undefined for a site that has neither certificate nor token
 * @throws FedloomError F5012, F5013 for a token that does not count, F5014 for a certificate that has expired or was
 *   revoked, F5111 for a damaged identity, F1003 for a token of another site
 */
export async function identityOf(state: string, options: IdentityOptions): Promise<Identity | undefined> {
  const { address, token, log, signal, clock } = options;
  const file = join(state, "identity.json");
  const joining = join(state, "joining.json");
  const held = existsSync(file) ? read(file, stored) : undefined;
  if (token !== undefined && isNew(token, held, clock.now())) {
    for (const name of [held?.name, options.name]) requireInvited(token, name);
    const joinedWith = sha256(token.trim());
    const key = keyFor(joining, joinedWith);
    failpoint("client.key-kept");
    const identity = await enroll(address, token, signal, key);
    failpoint("client.certified");
    keep(file, { ...identity, joinedWith });
    rmSync(joining, { force: true });
    log.info(`Enrolled as "${identity.name}"; the join token is spent`);
    return identity;
  }
  if (held === undefined) return undefined;
  rmSync(joining, { force: true }); // a crash may have come right before it
  const { joinedWith, ...identity } = held;
  const { name } = identity;
  const endsMs = expiryOf(identity.certificate);
  if (endsMs <= clock.now()) {
    throw new FedloomError(
      "F5014",
      `Cannot join ${address} as "${name}": its certificate expired on ${day(endsMs)}; ask for a new join token ("fedloom enroll ${name}" at the coordinator) and start once with --token`,
      { name, endsMs },
    );
  }
  if (!renewalDue(identity.certificate, clock.now())) return identity;
  try {
    const renewed = await renew(address, identity, signal);
    keep(file, { ...renewed, ...(joinedWith !== undefined && { joinedWith }) });
    log.info(`Renewed the certificate of "${name}"`, { until: day(expiryOf(renewed.certificate)) });
    return renewed;
  } catch (error) {
    // A coordinator that is away for a moment: there is time left to try again.
    if (!(error instanceof FedloomError && error.code === "F5001")) throw error;
    log.warn(`Cannot renew the certificate of "${name}" now`, {
      ...errorFields(error),
      expires: day(endsMs),
    });
    return identity;
  }
}

/** A file of before tokens were noted tells nothing of them: its certificate goes first, as long as it counts. */
function isNew(token: string, held: Held | undefined, nowMs: number): boolean {
  if (held === undefined) return true;
  if (held.joinedWith === undefined) return expiryOf(held.certificate) <= nowMs;
  return held.joinedWith !== sha256(token.trim());
}

/** Before the token is spent. */
function requireInvited(token: string, name: string | undefined): void {
  const { name: invited } = parseJoinToken(token);
  if (name === undefined || name === invited) return;
  throw new FedloomError(
    "F1003",
    `Cannot join as "${name}": the join token is for site "${invited}", which needs a --state of its own`,
    { name, invited },
  );
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The key that this token was offered with before, or a new one, on disk before anybody is asked. */
function keyFor(file: string, joinedWith: string): string {
  const before = existsSync(file) ? read(file, asked) : undefined;
  if (before?.joinedWith === joinedWith) return before.key;
  const key = newKey();
  keep(file, { joinedWith, key });
  return key;
}

function read<T>(file: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new FedloomError(
      "F5111",
      `Cannot use the identity in "${file}": ${messageOf(cause)}; remove the file and enroll again`,
      { file },
      { cause },
    );
  }
}

function keep(file: string, secret: Held | z.output<typeof asked>): void {
  mkdirSync(dirname(file), { recursive: true });
  replaceSecret(file, `${JSON.stringify(secret, undefined, 2)}\n`);
}
