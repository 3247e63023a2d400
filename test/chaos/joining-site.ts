/** A site that joins with a token and says Hello with its certificate; its arguments: state directory, address, token. */
import { systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { sha256 } from "../../base/hash.ts";
import { silentLog } from "../../base/log.ts";
import { identityOf } from "../../cli/identity.ts";
import { channelCredentials } from "../../client/credentials.ts";
import { connectFleet } from "../../proto/service.ts";
import { FakeClient } from "../server/fake-client.ts";

process.on("disconnect", () => process.exit(1));

const [state, address, token] = process.argv.slice(2) as [string, string, string];
try {
  const { signal } = new AbortController();
  const identity = await identityOf(state, { address, token, log: silentLog, signal, clock: systemClock });
  const credentials = channelCredentials({ kind: "tls", ...identity! });
  const client = new FakeClient(connectFleet(address, credentials), identity!.name);
  client.ended.catch((error: unknown) => console.log(`ended ${String(error)}`));
  await client.welcome;
  console.log(`joined as ${identity!.name} with key ${sha256(identity!.key)}`);
} catch (error) {
  console.log(error instanceof FedloomError ? `refused ${error.code}: ${error.message}` : error);
  process.exit(1);
}
