/** gRPC's health checking protocol. It is answered without a certificate: probes have none, and learn nothing else. */
import { create } from "@bufbuild/protobuf";
import { type Server, status } from "@grpc/grpc-js";
import { FleetService } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { methodsOf } from "../../proto/service.ts";

const SERVICES: ReadonlySet<string> = new Set(["", FleetService.typeName]);

/** A process that answers serves: what it cannot recover from ends it. */
export function addHealth(server: Server): void {
  const answer = create(HealthCheckResponseSchema, { status: Serving.SERVING });
  server.addService(methodsOf(Health), {
    check(
      call: { request: HealthCheckRequest },
      callback: (error: object | null, response?: unknown) => void,
    ) {
      if (SERVICES.has(call.request.service)) callback(null, answer);
      else
        callback({
          code: status.NOT_FOUND,
          details: `There is no service "${call.request.service.slice(0, 100)}"`,
        });
    },
    watch(call: { request: HealthCheckRequest; write(message: unknown): void }) {
      const known = SERVICES.has(call.request.service);
      call.write(known ? answer : create(HealthCheckResponseSchema, { status: Serving.SERVICE_UNKNOWN }));
    },
  });
}
