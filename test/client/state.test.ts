import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { type ClientState, createMemoryState, openState } from "../../client/state.ts";
import { SubmitResultRequestSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

const result = (taskId: string) =>
  create(SubmitResultRequestSchema, { taskId, runId: "r", round: 3, examples: 7n, metrics: { loss: 0.5 } });

const STATES: [string, () => ClientState][] = [
  ["on disk", () => openState(temporary(), "c1")],
  ["in memory", () => createMemoryState("c1")],
];

test.each(STATES)("a result %s is kept until it is settled, oldest first", (_, open) => {
  const state = open();
  state.keep(result("t2"));
  state.keep(result("t1"));
  expect(state.kept().map(({ taskId }) => taskId)).toEqual(["t2", "t1"]);
  expect(state.kept()[0]).toEqual(result("t2"));
  state.settle("t2");
  state.settle("t9");
  expect(state.kept().map(({ taskId }) => taskId)).toEqual(["t1"]);
  state.close();
});

test("everything is there after the file was closed and opened again", () => {
  const directory = temporary();
  const before = openState(directory, "site-a");
  before.note("t5");
  before.keep(result("t4"));
  before.close();
  const after = openState(directory);
  expect(after.clientId).toBe("site-a");
  expect(after.noted()).toBe("t5");
  expect(after.kept()).toEqual([result("t4")]);
  after.note(undefined);
  expect(after.noted()).toBeUndefined();
  after.close();
});

test("a client without a name gets one and keeps it", () => {
  const directory = temporary();
  const first = openState(directory);
  expect(first.clientId).toMatch(/^client-[0-9a-f]{8}$/);
  first.close();
  const second = openState(directory);
  expect(second.clientId).toBe(first.clientId);
  second.close();
});

test("a directory of one client is not given to another", () => {
  const directory = temporary();
  openState(directory, "site-a").close();
  expect(() => openState(directory, "site-b")).toThrow(
    expect.objectContaining({
      code: "F5111",
      message: expect.stringContaining('the directory belongs to client "site-a"'),
    }),
  );
  openState(directory, "site-a").close();
});

test.each(["", "a b", "../x", "-x", "x".repeat(65), "naïve"])("the name %j is refused", (name) => {
  expect(() => openState(temporary(), name)).toThrow(expect.objectContaining({ code: "F5110" }));
});

test("a directory of a newer version is refused", () => {
  const directory = temporary();
  openState(directory, "c1").close();
  const database = new DatabaseSync(join(directory, "client.db"));
  database.exec("PRAGMA user_version = 99");
  database.close();
  expect(() => openState(directory)).toThrow(expect.objectContaining({ code: "F5111" }));
});

test("a file that is no state is refused by name", () => {
  const directory = temporary();
  writeFileSync(
    join(directory, "client.db"),
    "this is not a database, and it is long enough to be read as one".repeat(9),
  );
  expect(() => openState(directory)).toThrow(
    expect.objectContaining({ code: "F5107", message: expect.stringContaining(directory) }),
  );
});

test("a path that is a file is refused", () => {
  const path = join(temporary(), "file");
  writeFileSync(path, "");
  expect(() => openState(path)).toThrow(expect.objectContaining({ code: "F5107" }));
});

test("two processes cannot share a directory, and a killed one leaves no lock behind", async () => {
  const directory = join(temporary(), "state");
  mkdirSync(directory);
  const program = `
    import { openState } from ${JSON.stringify(join(import.meta.dirname, "../../client/state.ts"))};
    openState(${JSON.stringify(directory)}, "c1");
    process.stdout.write("open");
    setInterval(() => {}, 1000);
  `;
  const other = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(other.stdout, "data");
  expect(() => openState(directory)).toThrow(
    expect.objectContaining({ code: "F5105", message: expect.stringContaining("another process has it") }),
  );
  other.kill("SIGKILL");
  await once(other, "exit");
  const state = openState(directory);
  expect(state.clientId).toBe("c1");
  state.close();
});

test("a kept result with a flipped bit is not offered", () => {
  const directory = temporary();
  const before = openState(directory, "c1");
  before.keep(result("t1"));
  before.keep(result("t2"));
  before.close();
  const database = new DatabaseSync(join(directory, "client.db"));
  const row = database.prepare("SELECT result FROM kept WHERE task_id = 't1'").get();
  const bytes = row!.result as Uint8Array;
  bytes[bytes.length - 3]! ^= 4;
  database.prepare("UPDATE kept SET result = ? WHERE task_id = 't1'").run(bytes);
  database.close();
  const after = openState(directory);
  expect(after.kept()).toEqual([result("t2")]);
  after.close();
});
