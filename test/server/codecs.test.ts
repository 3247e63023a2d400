/** How updates travel is agreed on with each client: the run's codec where it knows that one, else whole tensors. */
import { expect, test } from "vitest";
import { FakeClient } from "./fake-client.ts";
import { config, coordinatorIn, finished, later } from "./setting.ts";

test("each client of a round is asked for a codec that it knows, and whole tensors count beside coded ones", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, codec: "int8", cohort: { perRound: 3, quorum: 3 } }),
  });
  const known = { all: ["fp32", "fp16", "int8"], older: ["fp32", "fp16"], oldest: [] };
  const clients = Object.entries(known).map(([id, codecs]) => {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, { codecs });
    client.ended.catch(() => undefined);
    later(() => client.close());
    return client;
  });
  await finished(engine);
  expect(engine.run.stopped).toBeUndefined();
  expect(engine.rounds[0]!.ok).toBe(3);
  const asked = clients.map(({ id, tasks }) => [
    id,
    JSON.parse(Buffer.from(tasks[0]!.optionsJson).toString()).codec,
  ]);
  expect(asked).toEqual([
    ["all", "int8"],
    ["older", "fp32"],
    ["oldest", "fp32"],
  ]);
});
