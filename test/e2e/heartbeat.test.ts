/** Heartbeats do not depend on the thread that trains. */

import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { bindWide, SERVER_OPTIONS } from "../../proto/channel.ts";
import { addFleet } from "../../proto/service.ts";
import { createFakeFleet } from "../client/fake-fleet.ts";
import { toyAdapter } from "../toy-trainer.ts";
import { startProcess, temporaryDirectory } from "./processes.ts";

test("a client whose main thread is blocked for three seconds goes on sending heartbeats", async () => {
  const fleet = createFakeFleet(); // asks for a heartbeat each 1,000 ms, and gets one each 500 ms
  const server = new Server(SERVER_OPTIONS);
  const takeStream = addFleet(
    server,
    () => fleet,
    () => {},
  );
  const port = await bindWide(server, "127.0.0.1:0", ServerCredentials.createInsecure(), takeStream);
  onTestFinished(() => server.forceShutdown());
  fleet.offer(fleet.trainTask("t1", toyAdapter()));

  const options = { join: `127.0.0.1:${port}`, name: "c1", state: temporaryDirectory(), blockMs: 3000 };
  const client = startProcess(join(import.meta.dirname, "toy-client.ts"), [JSON.stringify(options)]);
  await client.line(/^blocking/);
  const before = fleet.heartbeats.length;
  await client.line(/^blocked/);
  const during = fleet.heartbeats.length - before;
  await fleet.until(() => fleet.submitted.length === 1);
  // Six are due; a loaded machine may bring one or two late.
  expect(during).toBeGreaterThanOrEqual(4);
  expect(fleet.hellos).toHaveLength(1);
  client.process.kill("SIGINT");
  expect(await client.exited).toEqual({ code: 0, signal: null });
  expect(client.lines.at(-1)).toBe("ended cleanly");
});
