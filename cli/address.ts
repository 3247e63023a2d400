import { InvalidArgumentError } from "commander";

/** `host:port`, `[::1]:port` or `:port` (on loopback), as an option's value. Port 0 takes a free one. */
export function parseAddress(text: string): string {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[2]) > 65_535) {
    throw new InvalidArgumentError("It must have the form HOST:PORT, such as 127.0.0.1:7443.");
  }
  return `${match[1] === "" ? "127.0.0.1" : match[1]}:${match[2]}`;
}
