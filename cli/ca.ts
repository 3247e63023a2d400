/** `fedloom ca init`: the coordinator's own certificate authority; with it the coordinator speaks TLS. */
import { systemClock } from "../base/clock.ts";
import { authorityExists, openAuthority } from "../server/identity/authority.ts";
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
      const { fingerprint } = await openAuthority(state, systemClock);
      cli
        .output(options)
        .result("ca/1", { state, fingerprint, made: !before }, [
          before ? `The authority was there already: ${fingerprint}` : `Made the authority ${fingerprint}`,
          "Start the coordinator, then invite a site: fedloom enroll NAME",
        ]);
    });
}
