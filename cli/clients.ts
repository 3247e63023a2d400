/** `fedloom clients`: who trains for the coordinator, when each was seen last, and how to keep one out. */
import type { Command } from "commander";
import { systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import type { ClientStatus } from "../server/http/schema.ts";
import type { Cli, CommonOptions } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { table } from "./table.ts";
import { duration } from "./units.ts";

type Options = CommonOptions & CoordinatorOption;
type Site = Awaited<ReturnType<Operator["sites"]>>[number];

export function registerClients(cli: Cli): void {
  const clients = cli
    .command(
      "clients",
      "List clients: who is here, when each was seen last, until when its certificate counts.",
    )
    .addOption(coordinatorOption())
    .action(async (options: Options) => {
      const operator = new Operator(options.coordinator);
      const [known, sites] = await Promise.all([operator.clients(), sitesOf(operator)]);
      const rows = merged(known, sites);
      cli.output(options).result("clients/1", { clients: rows }, lines(rows, systemClock.now()));
    });
  cli
    .command("revoke <site>", "Stop serving a site, at once; it can be enrolled again.", clients)
    .addOption(coordinatorOption())
    .action(async (name: string, _: Options, command: Command) => {
      // The command above has the same options, and takes them wherever they stand.
      const options: Options = command.optsWithGlobals();
      await new Operator(options.coordinator).revoke(name);
      cli.output(options).result("revoke/1", { site: name }, [`Site "${name}" is not served any more`]);
    });
}

/** A coordinator without an authority has clients and no sites. */
async function sitesOf(operator: Operator): Promise<readonly Site[]> {
  try {
    return await operator.sites();
  } catch (error) {
    if (error instanceof FedloomError && error.code === "F4022") return [];
    throw error;
  }
}

type Row = Partial<ClientStatus> & Partial<Site> & { readonly client: string; readonly connected: boolean };

function merged(clients: readonly ClientStatus[], sites: readonly Site[]): Row[] {
  const names = [
    ...new Set([...clients.map(({ client }) => client), ...sites.map(({ name }) => name)]),
  ].sort();
  return names.map((client) => ({
    connected: false,
    ...sites.find(({ name }) => name === client),
    ...clients.find((known) => known.client === client),
    client,
  }));
}

function lines(rows: readonly Row[], nowMs: number): string[] {
  if (rows.length === 0) return ["No client was here yet. Start one: fedloom client --join HOST:PORT ..."];
  const columns = ["client", "status", "seen", "trains with", "examples", "certificate until"];
  const cells = rows.map((row) => [
    row.client,
    row.revokedAtMs === undefined ? (row.connected ? "here" : "away") : `revoked ${day(row.revokedAtMs)}`,
    seen(row, nowMs),
    row.trainer === undefined ? "-" : `${row.trainer} on ${row.device}`,
    examplesOf(row),
    row.notAfterMs === undefined ? "-" : day(row.notAfterMs),
  ]);
  return table(
    columns.map((title) => ({ title })),
    cells,
  );
}

function seen({ connected, lastSeenAtMs }: Row, nowMs: number): string {
  if (connected) return "now";
  return lastSeenAtMs === undefined ? "-" : `${duration(Math.max(0, nowMs - lastSeenAtMs))} ago`;
}

function examplesOf({ examples = {} }: Row): string {
  const counts = Object.entries(examples).map(([kind, count]) => `${count} ${kind}`);
  return counts.length === 0 ? "-" : counts.join(", ");
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
