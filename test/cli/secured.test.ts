/** A coordinator with an authority as its people use it: real processes, real TLS, every command that changes something. */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { addressesOf, type Federation, makeFederation } from "./federation.ts";
import { fedloom, start } from "./process.ts";

/** Some thirty processes, one after another; beside other tests on two cores each takes seconds. */
const TIMEOUT_MS = 300_000;

let federation: Federation;

beforeAll(async () => {
  federation = await makeFederation(["rounds: 2", "cohort: { perRound: 1, quorum: 1 }"]);
});

test(
  "a site is enrolled, trains, is revoked; runs are forked, stopped, resumed, verified: the trail tells each, once",
  async () => {
    const state = join(federation.directory, "state");
    const [made, again] = [
      await fedloom("ca", "init", "--state", state, "--json"),
      await fedloom("ca", "init", "--state", state),
    ];
    const { fingerprint } = JSON.parse(made.stdout);
    expect(again.stdout).toContain(`The authority was there already: ${fingerprint}`);

    const command = ["--run", join(federation.directory, "run.yaml")];
    const first = federation.startCoordinator("state", "127.0.0.1:0", "127.0.0.1:0", ...command);
    const { clients, operators } = await addressesOf(first);
    const at = ["--coordinator", operators];
    const ask = async (...args: string[]) => JSON.parse((await fedloom(...args, "--json", ...at)).stdout);
    const refused = async (...args: string[]) => (await fedloom(...args, ...at)).stderr;

    const [{ id }] = (await ask("ls")).runs;
    const spare = await ask("enroll", "harbor");
    expect((await fedloom("enroll", "harbor", "--withdraw", ...at)).stdout).toContain(
      "Withdrew 1 join token",
    );
    const { token } = await ask("enroll", "harbor");
    const site = (name: string, joinToken: string) =>
      start([
        ...[
          "client",
          "--join",
          clients,
          "--data",
          join(federation.directory, "data", "harbor"),
          "--model",
          federation.model,
        ],
        ...[
          "--state",
          join(federation.directory, name),
          "--token",
          joinToken,
          "--threads",
          "1",
          "--log",
          "json",
        ],
      ]);
    expect((await site("harbor", spare.token).ended).stderr).toContain("(F5012)");
    const harbor = site("harbor", token);
    await first.until(/finished: 2 of 2 rounds/);
    expect((await site("thief", token).ended).stderr).toContain("(F5012)");
    const listed = (await ask("clients")).clients;
    expect(listed).toMatchObject([{ client: "harbor", connected: true, notAfterMs: expect.any(Number) }]);

    // Killed and started again by the same command: the same run, submitted once.
    first.child.kill("SIGKILL");
    await first.ended;
    const second = federation.startCoordinator(
      "state",
      clients,
      operators.replace("http://", ""),
      ...command,
    );
    await addressesOf(second);
    const { token: bearer } = await ask("token", "anna", "--role", "viewer");
    const watching = { env: { FEDLOOM_TOKEN: bearer } };
    expect((await start(["stop", id, ...at], watching).ended).stderr).toContain("(F4024)");
    expect((await start(["ls", ...at], watching).ended).stdout).toContain(id);
    expect((await fedloom("token", "anna", "--withdraw", ...at)).stdout).toContain(
      'Withdrew 1 token of "anna"',
    );
    expect((await start(["ls", ...at], watching).ended).stderr).toContain("(F4024)");
    expect(await refused("token", "anna", "--withdraw")).toContain("(F4025)");

    const { run: fork } = await ask("fork", `${id}@1`);
    await expect
      .poll(async () => (await ask("ls")).runs.map(({ status }: { status: string }) => status), PATIENCE)
      .toEqual(["finished", "finished"]);
    expect((await fedloom("verify", fork, ...at)).stdout).toMatch(/^2 +equal /m);
    expect((await fedloom("export", id, "--peft", join(federation.directory, "peft"), ...at)).code).toBe(0);
    const { run: waiting } = await ask(
      "run",
      join(federation.directory, "run.yaml"),
      "--set",
      "cohort.perRound=2",
      "--detach",
    );
    await ask("stop", waiting);
    await ask("resume", waiting);
    await ask("stop", waiting, "--now");

    expect(await refused("revoke", "nobody")).toContain("(F4023)");
    expect(await refused("enroll", "harbor", "--withdraw")).toContain("(F4025)");
    expect(await refused("fork", `${id}@7`)).toContain("(F4021)");
    expect(await refused("verify", "nothing")).toContain("(F4006)");
    expect((await fedloom("clients", "revoke", "harbor", ...at)).stdout).toContain("is not served any more");
    expect((await harbor.ended).stderr).toContain("(F5014)");
    expect((await ask("clients")).clients).toMatchObject([{ client: "harbor", connected: false }]);

    const { audit } = await ask("audit");
    const told = audit.map(({ who, what }: { who: string; what: string }) => `${who}: ${what}`);
    expect(told).toEqual([
      `local command: made the certificate authority ${fingerprint}`,
      `local command: submitted run ${id} (colors)`,
      "local operator: invited site harbor",
      "local operator: withdrew 1 join token of site harbor",
      "local operator: invited site harbor",
      expect.stringMatching(/^harbor: enrolled from 127\.0\.0\.1:/),
      "local operator: gave anna a token as viewer",
      "local operator: withdrew 1 token of anna",
      `local operator: forked run ${id} at round 1 into run ${fork}`,
      `local operator: verified run ${fork}: 1 round equal`,
      `local operator: took the adapter of run ${id}`,
      `local operator: submitted run ${waiting} (colors)`,
      `local operator: stopped run ${waiting} after its round`,
      `local operator: resumed run ${waiting}`,
      `local operator: stopped run ${waiting} at once`,
      "local operator: revoked site harbor",
    ]);
    second.child.kill("SIGINT");
    expect((await second.ended).code).toBe(130);
  },
  TIMEOUT_MS,
);

const PATIENCE = { timeout: 120_000 };

test(
  "an authority is not made under a coordinator at work, and without one the trail is there too",
  async () => {
    const plain = federation.startCoordinator(
      "plain",
      "127.0.0.1:0",
      "127.0.0.1:0",
      "--run",
      join(federation.directory, "run.yaml"),
    );
    const { operators } = await addressesOf(plain);
    const made = await fedloom("ca", "init", "--state", join(federation.directory, "plain"));
    expect(made).toMatchObject({ code: 5, stderr: expect.stringContaining("(F4002)") });
    const [, id] = (await plain.until(/Run (\w+) "colors"/))!;
    expect((await fedloom("audit", "--coordinator", operators)).stdout).toMatch(
      new RegExp(`local command +submitted run ${id} \\(colors\\)`),
    );
    plain.child.kill("SIGINT");
    await plain.ended;
  },
  TIMEOUT_MS,
);
