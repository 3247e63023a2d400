/** A peer that holds its Connect stream open, sends heartbeats, and takes nothing: its HTTP/2 window is shut from the first byte on. */
import http2 from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { FLEET_METHODS } from "../../proto/service.ts";
import { LINGER_MS } from "../../proto/stuck-calls.ts";
import { ownVersion } from "../../proto/version.ts";
import { HEARTBEAT_MS, MAX_WAITING_MESSAGES } from "../../server/limits.ts";
import { overGrpc } from "./over-grpc.ts";
import { config, coordinatorIn, finished, later, until } from "./setting.ts";

const IDLE_MS = 60_000;

/** A coordinator whose time stands still until it is told, and "deaf", whose connection takes no data. */
async function setting() {
  const clock = new ManualClock();
  const coordinator = await coordinatorIn(undefined, { clock });
  const { edge, join } = await overGrpc(coordinator);
  const session = http2.connect(`http://${edge.address}`, { settings: { initialWindowSize: 0 } });
  session.on("error", () => undefined);
  later(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": FLEET_METHODS.connect.path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  const closed = new Promise<number | undefined>((resolve) => {
    stream.once("close", () => resolve(stream.rstCode));
  });
  const say = (
    message: NonNullable<Parameters<typeof create<typeof ConnectRequestSchema>>[1]>["message"],
  ) => {
    stream.write(framed(create(ConnectRequestSchema, { message: message! })));
  };
  /** Everything said so far was read by the other side. */
  const settled = (): Promise<void> =>
    new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  const inventory = { examples: { text: 1n }, trainer: "none", device: "cpu" };
  say({ case: "hello", value: { version: ownVersion(), clientId: "deaf", sessionId: "s", inventory } });
  const { presence } = coordinator.parts;
  await expect.poll(() => presence.session("deaf")).toBeDefined();
  let beats = 0n;
  const beat = async (): Promise<void> => {
    say({ case: "heartbeat", value: { sequence: beats++ } });
    await settled();
  };
  return { clock, coordinator, join, presence, say, settled, beat, closed };
}

function framed(message: ConnectRequest): Buffer {
  const bytes = toBinary(ConnectRequestSchema, message);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

test("it keeps its presence by heartbeats, loses its task by cohort.idle with the reason, and is cut off then", async () => {
  const { clock, coordinator, join, presence, beat, closed } = await setting();
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, cohort: { perRound: 2, quorum: 1, idle: `${IDLE_MS / 1000}s` } }),
  });
  join("good");
  await until(engine, (run) => run.round?.members.get("good")?.status === "received");
  for (let ms = 0; ms < IDLE_MS; ms += HEARTBEAT_MS) {
    expect(presence.session("deaf")).toBeDefined();
    await beat();
    clock.advance(HEARTBEAT_MS);
  }
  await finished(engine);
  expect(engine.rounds[0]!.failures).toEqual([
    {
      ...{ client: "deaf", phase: "offer", code: "F4009" },
      message: "it does not read, and no progress for 60 s (cohort.idle)",
    },
  ]);
  await expect.poll(() => presence.session("deaf")).toBeUndefined();
  clock.advance(LINGER_MS);
  expect(await closed).toBe(http2.constants.NGHTTP2_CANCEL);
});

test.each([
  ["a newer connection of its name takes over", "newer"],
  ["it is silent for three heartbeats", "silent"],
  ["it is revoked", "revoked"],
  ["more messages wait for it than for any client that reads", "flooded"],
])("its connection ends, though it hears nothing of it, when %s", async (_what, why) => {
  const { clock, coordinator, join, presence, say, settled, closed } = await setting();
  const before = presence.session("deaf")!;
  if (why === "newer") await join("deaf").welcome;
  if (why === "silent") clock.advance(3 * HEARTBEAT_MS);
  if (why === "revoked") coordinator.shutOut("deaf");
  if (why === "flooded") for (let i = 0; i < MAX_WAITING_MESSAGES; i++) before.send(empty());
  await expect.poll(() => presence.session("deaf") === before).toBe(false);
  // What it says after it moves nothing.
  let heard = 0;
  coordinator.watchProgress(() => heard++);
  say({ case: "progress", value: { taskId: "t", phase: "train", done: 1n, total: 2n } });
  await settled();
  expect(heard).toBe(0);
  clock.advance(LINGER_MS);
  expect(await closed).toBe(http2.constants.NGHTTP2_CANCEL);
});

function empty(): ConnectResponse {
  return create(ConnectResponseSchema, {});
}
