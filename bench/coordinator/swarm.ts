/** Clients that train nothing: each changes one number of the adapter and sends all of it back. One process for all. */
import { create } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { SubmitResultRequestSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { connectFleet } from "../../proto/service.ts";
import { FakeClient } from "../../test/server/fake-client.ts";

/** As often as the coordinator asks for. */
const HEARTBEAT_MS = 10_000;

const options: { readonly address: string; readonly clients: number } = JSON.parse(process.argv[2]!);
process.on("disconnect", () => process.exit(0));

for (let k = 0; k < options.clients; k++) join(`c${String(k).padStart(4, "0")}`, k);

function join(id: string, k: number): void {
  const fleet = connectFleet(options.address, credentials.createInsecure());
  const client = new FakeClient(fleet, id, {
    onTask: async (self, task) => {
      const config = await self.fetch(task.adapterConfig!);
      const model = Buffer.from(await self.fetch(task.adapterModel!));
      // The last value of the last tensor: every update is another blob, as real ones are.
      model.writeFloatLE(k / 1024, model.length - 4);
      const result = create(SubmitResultRequestSchema, {
        clientId: id,
        taskId: task.taskId,
        runId: task.runId,
        round: task.round,
        adapterConfig: await self.push(task, config),
        adapterModel: await self.push(task, model),
        examples: 10n,
        steps: 1n,
        trainedFrom: task.adapterModel!.sha256,
      });
      await fleet.submitResult(result, self.signal);
      return true;
    },
  });
  const beat = setInterval(() => client.say({ case: "heartbeat", value: { sequence: 0n } }), HEARTBEAT_MS);
  // The coordinator is killed on purpose: come back at once.
  client.ended
    .catch(() => undefined)
    .finally(() => {
      clearInterval(beat);
      fleet.close();
      setTimeout(() => join(id, k), 20);
    });
}
