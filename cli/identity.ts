/** A site's certificate in its state directory: traded for a join token once, renewed before it runs out. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { systemClock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { errorFields, type Log } from "../base/log.ts";
import { enroll, type Identity, renew, renewalDue } from "../proto/enroll.ts";

const stored = z.object({
  name: z.string(),
  authority: z.string(),
  certificate: z.string(),
  key: z.string(),
});

/**
 * The site's certificate, traded for a token or renewed where a third of its life or less is left.
 *
 * @param token the join token, for a site that has no certificate yet; spent after it
 * @returns undefined for a site that has neither
 * @throws FedloomError F5012, F5013 for a token that does not count, F5111 for a damaged identity
 */
export async function identityOf(
  state: string,
  {
    address,
    token,
    log,
    signal,
  }: { address: string; token: string | undefined; log: Log; signal: AbortSignal },
): Promise<Identity | undefined> {
  const file = join(state, "identity.json");
  if (!existsSync(file)) {
    if (token === undefined) return undefined;
    const identity = await enroll(address, token, signal);
    keep(file, identity);
    log.info(`Enrolled as "${identity.name}"; the join token is spent`);
    return identity;
  }
  const identity = read(file);
  if (!renewalDue(identity.certificate, systemClock.now())) return identity;
  try {
    const renewed = await renew(address, identity, signal);
    keep(file, renewed);
    log.info(`Renewed the certificate of "${renewed.name}"`);
    return renewed;
  } catch (error) {
    // A coordinator that is away for a moment: there is a third of the certificate's life left to try again.
    if (!(error instanceof FedloomError && error.code === "F5001")) throw error;
    log.warn(`Cannot renew the certificate of "${identity.name}" now`, errorFields(error));
    return identity;
  }
}

function read(file: string): Identity {
  try {
    return stored.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new FedloomError(
      "F5111",
      `Cannot use the identity in "${file}": ${messageOf(cause)}; remove the file and enroll again`,
      { file },
      { cause },
    );
  }
}

/** The private key is for the owner's eyes only, from its first byte on. */
function keep(file: string, identity: Identity): void {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(identity, undefined, 2)}\n`, { mode: 0o600, flush: true });
  renameSync(temporary, file);
}
