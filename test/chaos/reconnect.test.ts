/** A thousand clients lose their coordinator at once and find it again. */
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { createRng } from "../../base/rng.ts";
import { channelCredentials, INSECURE } from "../../client/credentials.ts";
import { holdConnection } from "../../client/standing.ts";
import { HelloSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { connectFleet } from "../../proto/service.ts";
import { ownVersion } from "../../proto/version.ts";
import { federation } from "../e2e/federation.ts";
import { LONG } from "./lives.ts";

const CLIENTS = LONG ? 1000 : 200;

test(`${CLIENTS} clients come back to a coordinator that was killed, each by one connection`, async () => {
  // The run waits for two others, so that nobody is given work.
  const setting = await federation({ run: { clients: ["absent-1", "absent-2"] } });
  const first = setting.coordinator();
  await first.line(/^listening/);

  const ups = new Map<string, number>();
  const watchers: { atLeast: number; resolve: () => void }[] = [];
  const allUp = (atLeast: number): Promise<void> =>
    new Promise((resolve) => {
      watchers.push({ atLeast, resolve });
      look();
    });
  const look = (): void => {
    const least = ups.size < CLIENTS ? 0 : Math.min(...ups.values());
    for (const { atLeast, resolve } of watchers) if (least >= atLeast) resolve();
  };
  let attempts = 0;
  for (let i = 0; i < CLIENTS; i++) {
    const clientId = `c${i}`;
    const fleet = connectFleet(setting.address, channelCredentials(INSECURE));
    const hello = create(HelloSchema, {
      version: ownVersion(),
      clientId,
      sessionId: clientId,
      inventory: { examples: { text: 1n }, trainer: "toy", device: "cpu" },
    });
    const standing = holdConnection(
      fleet,
      hello,
      {
        onUp() {
          ups.set(clientId, (ups.get(clientId) ?? 0) + 1);
          look();
        },
        onTask() {},
        onCancel() {},
        onDown() {
          attempts++;
        },
        onEnd(reason) {
          throw reason;
        },
      },
      { clock: systemClock, rng: createRng(clientId) },
    );
    onTestFinished(async () => {
      await standing.close();
      fleet.close();
    });
  }
  await allUp(1);
  await first.kill();
  const second = setting.coordinator();
  await second.line(/^listening/);
  const startedMs = performance.now();
  await allUp(2);
  const tookS = (performance.now() - startedMs) / 1000;
  console.log(`${CLIENTS} clients back after ${tookS.toFixed(1)} s and ${attempts} attempts`);
  expect(Math.max(...ups.values())).toBe(2);
  const connected = second.lines.filter((line) => line.includes("Client connected")).length;
  expect(connected).toBe(CLIENTS);
});
