/** Addresses to listen on, "host:port". */
import { hostname, networkInterfaces } from "node:os";
import { FedloomError } from "../base/errors.ts";

/** @throws FedloomError F5009 for a text that is no address */
export function hostOf(listen: string): string {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(listen);
  if (match !== null) return match[1]!;
  throw new FedloomError("F5009", `Cannot listen on "${listen}": an address must have the form host:port`, {
    listen,
  });
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Every name and address that a server on this host is reached by, as its certificate must have them. */
export function namesOf(host: string): string[] {
  const local = ["localhost", "127.0.0.1", "::1"];
  const bare = host.replace(/^\[|\]$/g, "");
  if (bare !== "0.0.0.0" && bare !== "::") return [...new Set([bare, ...local])];
  const addresses = Object.values(networkInterfaces()).flatMap(
    (all) => all?.map(({ address }) => address) ?? [],
  );
  // Link-local addresses hold for one interface only and come with its name.
  return [
    ...new Set([
      hostname(),
      ...local,
      ...addresses.filter((address) => !address.includes("%") && !address.startsWith("fe80:")),
    ]),
  ];
}
