/** The coordinator's HTTP edge. */
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { getRequestListener } from "@hono/node-server";
import { FedloomError } from "../../base/errors.ts";
import type { Coordinator } from "../coordinator.ts";
import type { Gate } from "../identity/gate.ts";
import { hostOf, isLoopback, namesOf } from "../listening.ts";
import { operatorApp } from "./app.ts";

export interface HttpEdge {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * On loopback plain HTTP, and whoever is on this machine is an operator. Elsewhere HTTPS with the authority's
 * certificate, and bearer tokens.
 *
 * @throws FedloomError F4014 off loopback without a gate, F5009 where the address cannot be listened on
 */
export async function serveHttp(coordinator: Coordinator, listen: string, gate?: Gate): Promise<HttpEdge> {
  const host = hostOf(listen);
  const local = isLoopback(host);
  if (!local && gate === undefined) {
    throw new FedloomError(
      "F4014",
      `Cannot listen on ${listen}: off loopback the operator's interface must use TLS; make the certificate authority with "fedloom ca init", or listen on 127.0.0.1`,
      { listen },
    );
  }
  let port = Number(listen.slice(host.length + 1));
  const names = [...namesOf(host), ...(gate?.names ?? [])].map((name) =>
    name.includes(":") ? `[${name}]` : name,
  );
  const app = operatorApp(coordinator, {
    allowedHosts: () => names.map((name) => `${name}:${port}`),
    local,
    gate,
  });
  const listener = getRequestListener(app.fetch);
  const server =
    local || gate === undefined ? createServer(listener) : await secureServer(gate, host, listener);
  port = await listenOn(server, host.replace(/^\[|\]$/g, ""), port, listen);
  return {
    url: `${local ? "http" : "https"}://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function secureServer(
  { authority, names }: Gate,
  host: string,
  listener: RequestListener,
): Promise<Server> {
  const { certificate, key } = await authority.server([...namesOf(host), ...names]);
  return createSecureServer({ cert: certificate + authority.pem, key }, listener);
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
