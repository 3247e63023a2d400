/** Addresses to listen on, "host:port". */
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
