import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { addressesOf, type Federation, makeFederation } from "./federation.ts";
import { fedloom, type Running, start } from "./process.ts";

/** Seven to ten processes start in such a test, one after another; beside other tests on two cores each takes seconds. */
const TIMEOUT_MS = 240_000;

let federation: Federation;

beforeAll(async () => {
  federation = await makeFederation([
    "rounds: 4",
    "cohort: { perRound: 2, quorum: 2 }",
    "evaluation: { data: data/held-out, metrics: [loss], limit: 24 }",
  ]);
});

function startClient(join_: string, name: string, state = name, ...more: string[]): Running {
  const args = [
    "--join",
    join_,
    "--name",
    name,
    "--data",
    join(federation.directory, "data", name),
    "--model",
    federation.model,
  ];
  return start([
    "client",
    ...args,
    "--state",
    join(federation.directory, "clients", state),
    "--threads",
    "1",
    "--log",
    "json",
    ...more,
  ]);
}

test(
  "a coordinator and a client are ended by Ctrl-C, started again with the same command, and the run goes on",
  async () => {
    const run = ["--run", join(federation.directory, "run.yaml"), "--until-done"];
    const first = federation.startCoordinator("state", "127.0.0.1:0", "127.0.0.1:0", ...run);
    const { clients, operators } = await addressesOf(first);
    const [harbor, archive] = [startClient(clients, "harbor"), startClient(clients, "archive")];
    await first.until(/\n +1 +2\/2/);

    harbor.child.kill("SIGINT");
    const left = await harbor.ended;
    expect(left.code).toBe(130);
    expect(left.stderr).toContain("started again with the same --state, it goes on where it was");

    first.child.kill("SIGINT");
    const stopped = await first.ended;
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/Ended with run \w+ in round \d; the same command goes on from here/);

    const second = federation.startCoordinator("state", clients, operators.replace("http://", ""), ...run);
    await addressesOf(second);
    const back = startClient(clients, "harbor");
    const listed = JSON.parse((await fedloom("ls", "--coordinator", operators, "--json")).stdout);
    expect(listed).toMatchObject({ schema: "fedloom.ls/1", runs: [{ name: "colors", rounds: 4 }] });

    const done = await second.ended;
    expect(done.code).toBe(0);
    expect(done.stdout).toContain("finished: 4 of 4 rounds");
    const files = join(federation.directory, "state", "runs", listed.runs[0].id);
    const rounds = readFileSync(join(files, "metrics.jsonl"), "utf8").trim().split("\n");
    expect(rounds.map((line) => JSON.parse(line).round)).toEqual([1, 2, 3, 4]);

    // A finished run is not begun again by the command that made it.
    const third = federation.startCoordinator("state", clients, operators.replace("http://", ""), ...run);
    expect((await third.ended).code).toBe(0);
    for (const client of [back, archive]) client.child.kill("SIGTERM");
    expect((await back.ended).code).toBe(143);
  },
  TIMEOUT_MS,
);

test(
  "an operator starts a run, follows, lists, stops, resumes and exports it",
  async () => {
    const coordinator = federation.startCoordinator("operated");
    const { clients, operators } = await addressesOf(coordinator);
    const at = ["--coordinator", operators];
    expect((await fedloom("ls", ...at)).stdout).toContain("No runs yet; 0 clients connected");

    const detached = await fedloom(
      "run",
      join(federation.directory, "run.yaml"),
      ...at,
      "--detach",
      "--json",
    );
    const { run } = JSON.parse(detached.stdout);
    const joined = ["harbor", "studio"].map((name) => startClient(clients, name, `operated-${name}`));
    const followed = start(["log", run, "--follow", ...at]);
    await followed.until(/round 1 {2}published/);

    const stopped = await fedloom("stop", "colors", "--now", ...at);
    expect(stopped.stdout).toContain(`go on with: fedloom resume ${run}`);
    const resumed = await fedloom("resume", run.slice(0, 4), ...at);
    expect(resumed.stdout).toMatch(/goes on with round \d of 4/);
    await expect
      .poll(async () => JSON.parse((await fedloom("ls", "--json", ...at)).stdout).runs[0].status, {
        timeout: 120_000,
      })
      .toBe("finished");

    const peft = join(federation.directory, "exported");
    const exported = await fedloom("export", run, "--peft", peft, "--json", ...at);
    const summary = JSON.parse(
      readFileSync(join(federation.directory, "operated", "runs", run, "summary.json"), "utf8"),
    );
    expect(JSON.parse(exported.stdout).sha256).toBe(summary.adapter.sha256);
    expect(JSON.parse(readFileSync(join(peft, "adapter_config.json"), "utf8"))).toMatchObject({
      peft_type: "LORA",
      r: 4,
    });
    expect((await fedloom("export", run, "--peft", peft, ...at)).stderr).toContain("it holds other files");

    const only = (await fedloom("log", run, "--client", "studio", "--round", "2", ...at)).stdout;
    expect(only).toMatch(/update received studio/);
    expect(only).not.toMatch(/harbor:|round 1 /);

    const wrong = await fedloom("export", "nothing", "--peft", join(federation.directory, "x"), ...at);
    expect(wrong).toMatchObject({ code: 5, stderr: expect.stringContaining('Cannot find run "nothing"') });
    for (const { child } of [...joined, coordinator]) child.kill("SIGINT");
    await Promise.all([...joined, coordinator].map(({ ended }) => ended));
  },
  TIMEOUT_MS,
);

test(
  "why a client failed reaches the operator, with the last lines of its log where the site lets them out",
  async () => {
    const coordinator = federation.startCoordinator("failing");
    const { clients, operators } = await addressesOf(coordinator);
    const at = ["--coordinator", operators];
    const one = ["--set", "cohort.perRound=1", "--set", "cohort.quorum=1"];
    const detached = await fedloom(
      "run",
      join(federation.directory, "run.yaml"),
      ...at,
      ...one,
      "--detach",
      "--json",
    );
    const { run } = JSON.parse(detached.stdout);
    const client = startClient(
      clients,
      "harbor",
      "failing-harbor",
      "--trainer",
      "command",
      "--command",
      "exit 3",
      "--share-log-lines",
      "5",
    );
    await coordinator.until(/client harbor failed in train of round 1/);
    const log = (await fedloom("log", run, "--client", "harbor", ...at)).stdout;
    expect(log).toMatch(/client failed harbor: phase train, code F\d{4}, message .*exit/);
    expect(log).toMatch(/^ {4}info: Task received .*\n {4}error: Task failed in train/m);
    expect((await fedloom("clients", ...at)).stdout).toMatch(/^harbor +here +now /m);
    // Options behind a command below another one are that command's: it asks this coordinator, which has no authority.
    expect((await fedloom("clients", "revoke", "harbor", ...at)).stderr).toContain("(F4022)");
    // Nobody succeeded: the run says why it stopped.
    const [listed] = JSON.parse((await fedloom("ls", "--json", ...at)).stdout).runs;
    expect(listed).toMatchObject({ status: "failed", reason: expect.stringContaining("harbor") });
    expect(listed.reason).toMatch(/^Cannot close round 1: .* failed in train: [^\n]* \(F\d{4}\)$/);
    for (const { child } of [client, coordinator]) child.kill("SIGINT");
    await Promise.all([client, coordinator].map(({ ended }) => ended));
  },
  TIMEOUT_MS,
);

describe("what is wrong is said in one sentence with a code", { timeout: TIMEOUT_MS }, () => {
  test("a port in use", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { code, stderr } = await federation.startCoordinator("port", `127.0.0.1:${port}`).ended;
    taken.close();
    expect({ code, last: stderr.trim().split("\n").at(-1) }).toEqual({
      code: 6,
      last: expect.stringMatching(
        new RegExp(`^Cannot listen on 127\\.0\\.0\\.1:${port}: .*in use.*\\(F5009\\)$`),
      ),
    });
  });

  test("an address off loopback without TLS", async () => {
    const { code, stderr } = await federation.startCoordinator("open", "0.0.0.0:0").ended;
    expect(code).toBe(5);
    expect(stderr).toMatch(/Cannot listen on 0\.0\.0\.0:0: .*TLS.* \(F4014\)/);
  });

  test("a state directory that cannot be", async () => {
    const file = join(federation.directory, "run.yaml"); // a file, where a directory is wanted
    const { code, stderr } = await fedloom("coordinator", "--state", join(file, "state"), "--log", "json");
    expect(code).toBe(5);
    expect(stderr).toMatch(/ENOTDIR.* \(F4004\)/);
  });

  test("a run file with an unknown key and a wrong type, by line and column; nothing is left behind", async () => {
    const file = join(federation.directory, "wrong.yaml");
    writeFileSync(file, "name: x\nmodel: m\nruonds: 3\nrounds: three\ncohort: { perRound: 2 }\n");
    const { code, stderr } = await federation.startCoordinator("wrong", undefined, undefined, "--run", file)
      .ended;
    expect(code).toBe(2);
    expect(stderr).toContain(`${file}:3:1: unknown key "ruonds": did you mean "rounds"?`);
    expect(stderr).toContain(`${file}:4:9: "rounds" must be a number, got "three"`);
    await expect(async () =>
      readFileSync(join(federation.directory, "wrong", "journal.sqlite")),
    ).rejects.toThrow("ENOENT");
  });

  test("a model directory that lacks a graph", async () => {
    const { code, stderr } = await fedloom(
      "plan",
      join(federation.directory, "run.yaml"),
      "--set",
      `model=${federation.directory}`,
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(/config\.json.* \(F2101\)/);
  });

  test("a client whose data holds no examples", async () => {
    const empty = mkdtempSync(join(tmpdir(), "fedloom-empty-"));
    writeFileSync(join(empty, "train.jsonl"), "");
    const args = [
      "--join",
      "127.0.0.1:1",
      "--data",
      empty,
      "--model",
      federation.model,
      "--state",
      join(empty, "state"),
    ];
    const { code, stderr } = await fedloom("client", ...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/\(F(5103|2002)\)/);
  });

  test("a coordinator that is not there", async () => {
    const { code, stderr } = await fedloom("ls", "--coordinator", "127.0.0.1:9");
    expect(code).toBe(6);
    expect(stderr).toMatch(/^Cannot reach the coordinator at http:\/\/127\.0\.0\.1:9: .* \(F5001\)\n$/);
  });

  test("two clients on one state directory", async () => {
    const first = startClient("127.0.0.1:1", "market", "shared");
    await first.until(/trying again/);
    const second = await startClient("127.0.0.1:1", "market", "shared").ended;
    expect(second.code).toBe(6);
    expect(second.stderr).toMatch(/another process has it.* \(F5105\)/);
    first.child.kill("SIGINT");
    expect((await first.ended).code).toBe(130);
  });
});
