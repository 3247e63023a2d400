/** The coordinator's HTTP edge. */
import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { FedloomError } from "../../base/errors.ts";
import type { Coordinator } from "../coordinator.ts";
import { hostOf, isLoopback } from "../listening.ts";
import { operatorApp } from "./app.ts";

export interface HttpEdge {
  readonly url: string;
  close(): Promise<void>;
}

/** @throws FedloomError F4014 off loopback, F5009 where the address cannot be listened on */
export async function serveHttp(coordinator: Coordinator, listen: string): Promise<HttpEdge> {
  const host = hostOf(listen);
  if (!isLoopback(host)) {
    throw new FedloomError(
      "F4014",
      `Cannot listen on ${listen}: the operator's interface has no access control yet and listens on loopback only`,
      { listen },
    );
  }
  let port = Number(listen.slice(host.length + 1));
  const names = new Set([host, "localhost", "127.0.0.1", "[::1]"]);
  const app = operatorApp(coordinator, () => [...names].map((name) => `${name}:${port}`));
  const server = createServer(getRequestListener(app.fetch));
  port = await listenOn(server, host.replace(/^\[|\]$/g, ""), port, listen);
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listenOn(server: Server, host: string, port: number, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const taken = "code" in cause && cause.code === "EADDRINUSE";
      const reason = taken
        ? "the port is in use; choose another or stop the program that holds it"
        : cause.message;
      reject(new FedloomError("F5009", `Cannot listen on ${listen}: ${reason}`, { listen }, { cause }));
    });
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
