/** One client never reads another's update or task and does nothing in another's name: every call is tried. */
import { generateKeyPairSync } from "node:crypto";
import http2 from "node:http2";
import { create } from "@bufbuild/protobuf";
import { credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { bindWide, SERVER_OPTIONS } from "../../proto/channel.ts";
import { enroll } from "../../proto/enroll.ts";
import {
  ConnectRequestSchema,
  EnrollRequestSchema,
  FetchBlobRequestSchema,
  RenewRequestSchema,
  ReportFailureRequestSchema,
  StatBlobRequestSchema,
  SubmitResultRequestSchema,
  type Task,
  Verdict,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { newKey, requestOf } from "../../proto/key-proof.ts";
import { connectFleet, FLEET_METHODS, type FleetClient } from "../../proto/service.ts";
import { ownVersion } from "../../proto/version.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { MAX_STRANGERS_MESSAGES, STRANGERS_MESSAGE_MS } from "../../server/limits.ts";
import { readAdapter } from "../../server/work/aggregate.ts";
import { pieces } from "./fake-client.ts";
import { secured } from "./secured.ts";
import { config, finished, firstAdapter, later, meanOf, temporaryDirectory, until } from "./setting.ts";

const never = new AbortController().signal;

/** One call of each kind, for a task and a blob, in the name of `as`. */
function callsOf(fleet: FleetClient, as: string, { taskId, runId, round }: Task, sha256: string) {
  const blob = { sha256, size: 5n };
  const key = requestOf(as, newKey());
  const drained = async (source: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of source);
  };
  const hello = { version: ownVersion(), clientId: as, sessionId: "s", inventory: {} };
  async function* hellos() {
    yield create(ConnectRequestSchema, { message: { case: "hello", value: hello } });
  }
  const result = {
    clientId: as,
    taskId,
    runId,
    round,
    adapterConfig: blob,
    adapterModel: blob,
    examples: 1n,
  };
  const failure = { clientId: as, taskId, phase: "train", code: "F5101", message: "not I" };
  return {
    connect: () => drained(fleet.connect(hellos(), never)),
    fetchBlob: () =>
      drained(fleet.fetchBlob(create(FetchBlobRequestSchema, { clientId: as, sha256 }), never)),
    statBlob: () => fleet.statBlob(create(StatBlobRequestSchema, { clientId: as, sha256 }), never),
    pushBlob: () => fleet.pushBlob(pieces(as, taskId, blob, 0, Buffer.from("bytes")), never),
    submitResult: () => fleet.submitResult(create(SubmitResultRequestSchema, result), never),
    reportFailure: () => fleet.reportFailure(create(ReportFailureRequestSchema, failure), never),
    enroll: () =>
      fleet.enroll(create(EnrollRequestSchema, { clientId: as, secret: Buffer.alloc(32), key }), never),
    renew: () => fleet.renew(create(RenewRequestSchema, { clientId: as, key }), never),
  } satisfies Record<keyof typeof FLEET_METHODS, () => Promise<unknown>>;
}

/** A round of "victim", whose update is there, and of "other", whose work waits: `other` is what it may call with. */
async function twoSites() {
  const setting = await secured();
  const { coordinator, admitted, join, connection } = setting;
  const tasks = { victim: Promise.withResolvers<Task>(), other: Promise.withResolvers<Task>() };
  const hold = Promise.withResolvers<boolean>();
  const identity = await admitted("other");
  const victim = join(await admitted("victim"), "victim", {
    onTask: async (_client, task) => {
      tasks.victim.resolve(task);
      return false;
    },
  });
  join(identity, "other", {
    onTask: (_client, task) => {
      tasks.other.resolve(task);
      return hold.promise;
    },
  });
  const engine = await coordinator.submitRun({ config: config({ rounds: 1 }) });
  await until(engine, (run) => run.round?.members.get("victim")?.status === "received");
  const member = engine.run.round!.members.get("victim")!;
  const update = member.status === "received" ? member.update.adapter.model.sha256 : "";
  /** The round ends as if nothing had been tried. */
  const unharmed = async (): Promise<void> => {
    hold.resolve(false);
    await finished(engine);
    expect(engine.rounds[0]).toMatchObject({ ok: 2, failed: 0 });
    const adapter = await readAdapter(coordinator.parts.blobs, engine.run.global!, "test");
    expect(meanOf(adapter)).toBeCloseTo(meanOf(firstAdapter()) + 1, 6);
    expect(coordinator.parts.presence.session("victim")).toBeDefined();
  };
  const own = { victim: await tasks.victim.promise, other: await tasks.other.promise };
  return { ...setting, engine, victim, update, own, other: connection(identity), unharmed };
}

/** What each call is answered with: the code of its refusal, or what it gave. */
async function answersOf(calls: ReturnType<typeof callsOf>): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(calls)) {
    answers[name] = await call().catch((error: unknown) => (error as { code: string }).code);
  }
  return answers;
}

test("every call in another site's name is refused, and nothing of it happens", async () => {
  const { other, own, update, unharmed } = await twoSites();
  const calls = callsOf(other, "victim", own.victim, update);
  expect(await answersOf(calls)).toEqual({
    connect: "F5008",
    fetchBlob: "F5008",
    statBlob: "F5008",
    pushBlob: "F5008",
    submitResult: "F5008",
    reportFailure: "F5008",
    enroll: "F5012",
    renew: "F5014",
  });
  await expect(calls.connect()).rejects.toMatchObject({
    message: expect.stringContaining('as client "victim": its certificate says "other"'),
  });
  await unharmed();
});

test("a site gets nothing of another's task and update in its own name either", async () => {
  const { other, own, update, unharmed } = await twoSites();
  const { fetchBlob, pushBlob, submitResult, reportFailure } = callsOf(other, "other", own.victim, update);
  await expect(fetchBlob()).rejects.toMatchObject({ code: "F5008" });
  await expect(pushBlob()).rejects.toMatchObject({ code: "F4011" });
  expect(await submitResult()).toMatchObject({ verdict: Verdict.REFUSED, code: "F5008" });
  await reportFailure(); // is answered, and noted of nobody
  // A second connection of its own that claims the other's task is told to drop it, and hands out none but its own.
  const hello = {
    version: ownVersion(),
    clientId: "other",
    sessionId: "new",
    inventory: {},
    heldTasks: [own.victim.taskId],
  };
  async function* hellos() {
    yield create(ConnectRequestSchema, { message: { case: "hello", value: hello } });
    await new Promise(() => undefined);
  }
  const seen: string[] = [];
  const stop = new AbortController();
  const listen = async (): Promise<void> => {
    for await (const { message } of other.connect(hellos(), stop.signal)) {
      if (message.case === "cancel") seen.push(`cancel ${message.value.taskId}`);
      if (message.case !== "task") continue;
      seen.push(`task ${message.value.taskId}`);
      stop.abort();
    }
  };
  await expect(listen()).rejects.toMatchObject({ code: "F5006" });
  expect(seen).toEqual([`cancel ${own.victim.taskId}`, `task ${own.other.taskId}`]);
  await unharmed();
});

test("an upload that one site began is nothing to another", async () => {
  const { other, own, coordinator, connection, admitted } = await twoSites();
  const blob = { sha256: "a".repeat(64), size: 10n };
  await expect(
    other.pushBlob(pieces("other", own.other.taskId, blob, 0, Buffer.from("half")), never),
  ).rejects.toMatchObject({ code: "F5005" });
  expect(await coordinator.parts.blobs.held("other", blob.sha256)).toBe(4);
  const third = connection(await admitted("third"));
  const asked = create(StatBlobRequestSchema, { clientId: "third", sha256: blob.sha256 });
  expect(await third.statBlob(asked, never)).toMatchObject({ complete: false, held: 0n });
});

test("every call of a peer without a certificate is refused, enrolment for its token", async () => {
  const { address, own, update, admitted, unharmed } = await twoSites();
  const { authority } = await admitted("third");
  const fleet = connectFleet(address, credentials.createSsl(Buffer.from(authority)));
  later(() => fleet.close());
  const names = Object.keys(FLEET_METHODS);
  expect(await answersOf(callsOf(fleet, "victim", own.victim, update))).toEqual({
    ...Object.fromEntries(names.map((name) => [name, "F5014"])),
    enroll: "F5012",
  });
  await unharmed();
});

test("peers without a certificate hold few messages and none for long, and calls of theirs that are refused are not read", async () => {
  const clock = new ManualClock(systemClock.now());
  const { address, invite } = await secured(temporaryDirectory(), clock);
  const open = (path: string, announced: number) => {
    const stream = session().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(announced, 1);
    stream.on("error", () => undefined).write(Buffer.concat([head, Buffer.alloc(1_000)]));
    return new Promise<unknown>((resolve) => {
      stream.on("response", (headers) => resolve(headers["fedloom-code"]));
    });
  };
  const session = () => {
    const made = http2.connect(`https://${address}`, { rejectUnauthorized: false });
    made.on("error", () => undefined);
    later(() => made.destroy());
    return made;
  };
  // Refused on sight, though their messages never come whole.
  for (const name of ["submitResult", "pushBlob", "fetchBlob", "connect"] as const)
    expect(await open(FLEET_METHODS[name].path, 1_000_000)).toBe("F5014");
  const { path } = FLEET_METHODS.enroll;
  const slow = Array.from({ length: MAX_STRANGERS_MESSAGES }, () => open(path, 1_000_000));
  // One of those many is refused at once, whichever comes last.
  expect(await Promise.race([open(path, 1_000_000), ...slow])).toBe("F5007");
  clock.advance(STRANGERS_MESSAGE_MS);
  for (const answer of slow) expect(await answer).toBe("F5007");
  expect((await enroll(address, await invite("site-1"), never)).name).toBe("site-1");
});

test("the connection of a peer without a certificate ends after a while, a site's stays", async () => {
  const state = temporaryDirectory();
  const authority = await openAuthority(state, systemClock);
  const { certificate, key } = await authority.server(["127.0.0.1"]);
  const pair = { cert_chain: Buffer.from(certificate), private_key: Buffer.from(key) };
  const server = new Server(SERVER_OPTIONS);
  const asked = ServerCredentials.createSsl(Buffer.from(authority.pem), [pair], true);
  const port = await bindWide(server, "127.0.0.1:0", asked, () => false, { strangerMs: 50 });
  later(() => server.forceShutdown());
  const open = (own: http2.SecureClientSessionOptions) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: authority.pem, ...own });
    later(() => session.destroy());
    session.on("error", () => undefined);
    return { session, closed: new Promise<void>((resolve) => session.once("close", () => resolve())) };
  };
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const site = open({
    cert: await authority.issueClient("site-1", publicKey),
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
  });
  await open({}).closed;
  await open({}).closed;
  expect(site.session.closed).toBe(false);
  await new Promise<void>((resolve, reject) =>
    site.session.ping((error) => (error ? reject(error) : resolve())),
  );
});
