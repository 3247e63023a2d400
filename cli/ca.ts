/** `fedloom ca init`: the coordinator's own certificate authority; with it the coordinator speaks TLS. */
import { systemClock } from "../base/clock.ts";
import { type Authority, authorityExists, openAuthority } from "../server/identity/authority.ts";
import { openSqliteStore } from "../server/journal/sqlite.ts";
import { LOCAL_COMMAND } from "../server/journal/trail.ts";
import type { Cli, CommonOptions } from "./cli.ts";

export function registerCa(cli: Cli): void {
  const ca = cli.program.command("ca").description("The coordinator's own certificate authority.");
  cli
    .command(
      "init",
      "Make the authority; from then on the coordinator speaks TLS and serves enrolled sites only.",
      ca,
    )
    .requiredOption("--state <dir>", "the coordinator's state directory")
    .action(async (options: CommonOptions & { readonly state: string }) => {
      const { state } = options;
      const before = authorityExists(state);
      const { fingerprint } = before ? await openAuthority(state, systemClock) : await make(state);
      cli
        .output(options)
        .result("ca/1", { state, fingerprint, made: !before }, [
          before ? `The authority was there already: ${fingerprint}` : `Made the authority ${fingerprint}`,
          "Start the coordinator, then invite a site: fedloom enroll NAME",
        ]);
    });
}

/** No coordinator may be at work: it would go on without TLS until its next start. */
async function make(state: string): Promise<Authority> {
  const store = openSqliteStore(state);
  try {
    const authority = await openAuthority(state, systemClock);
    const what = `made the certificate authority ${authority.fingerprint}`;
    await store.trail.add({ atMs: systemClock.now(), who: LOCAL_COMMAND, what });
    return authority;
  } finally {
    await store.close();
  }
}
