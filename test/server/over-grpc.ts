/** A coordinator behind a real socket, and clients that reach it there. */
import { credentials } from "@grpc/grpc-js";
import { connectFleet } from "../../proto/service.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import { FakeClient, type FakeOptions } from "./fake-client.ts";
import { later } from "./setting.ts";

/** All of it ends with the test. */
export async function overGrpc(coordinator: Coordinator) {
  const edge = await serveGrpc(coordinator, "127.0.0.1:0");
  later(async () => {
    edge.close();
    await coordinator.close();
  });
  const join = (id: string, options: FakeOptions = {}): FakeClient => {
    const fleet = connectFleet(edge.address, credentials.createInsecure());
    const client = new FakeClient(fleet, id, options);
    client.ended.catch(() => undefined);
    later(() => {
      client.close();
      fleet.close();
    });
    return client;
  };
  return { edge, join };
}
