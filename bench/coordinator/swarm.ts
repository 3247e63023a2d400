/** Clients that train nothing: each changes one number of the adapter and sends all of it back. */
import { create } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { sha256 } from "../../base/hash.ts";
import {
  type BlobRef,
  FetchBlobRequestSchema,
  SubmitResultRequestSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { connectFleet } from "../../proto/service.ts";
import { FakeClient } from "../../test/server/fake-client.ts";

/** As often as the coordinator asks for. */
const HEARTBEAT_MS = 10_000;

const options: { readonly address: string; readonly first: number; readonly clients: number } = JSON.parse(
  process.argv[2]!,
);
process.on("disconnect", () => process.exit(0));

for (let k = options.first; k < options.first + options.clients; k++)
  join(`c${String(k).padStart(4, "0")}`, k);

function join(id: string, k: number): void {
  const fleet = connectFleet(options.address, credentials.createInsecure());
  const kept = new Map<string, Buffer>();
  /** Into memory that is used again; a blob that is there is not fetched again, as by the real client. */
  const fetch = async (blob: BlobRef, place: string, signal: AbortSignal): Promise<Buffer> => {
    const there = kept.get(place);
    if (there !== undefined && place === blob.sha256) return there;
    const bytes = there?.length === Number(blob.size) ? there : Buffer.allocUnsafeSlow(Number(blob.size));
    kept.set(place, bytes);
    let at = 0;
    const request = create(FetchBlobRequestSchema, { clientId: id, sha256: blob.sha256 });
    for await (const { data } of fleet.fetchBlob(request, signal)) {
      bytes.set(data, at);
      at += data.length;
    }
    if (sha256(bytes) !== blob.sha256) throw new Error("fetched another blob");
    return bytes;
  };
  const client = new FakeClient(fleet, id, {
    onTask: async (self, task) => {
      const config = await fetch(task.adapterConfig!, task.adapterConfig!.sha256, self.signal);
      const model = await fetch(task.adapterModel!, "model", self.signal);
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
