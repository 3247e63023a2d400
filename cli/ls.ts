/** `fedloom ls`: the coordinator's runs. */
import { systemClock } from "../base/clock.ts";
import { headline } from "../base/errors.ts";
import type { ClientStatus, RunStatus } from "../server/http/schema.ts";
import type { Cli, CommonOptions } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { viewOf } from "./screen/view-of-status.ts";
import { table } from "./table.ts";
import { duration, figure } from "./units.ts";

export function registerLs(cli: Cli): void {
  cli
    .command("ls", "List the coordinator's runs: status, round, clients, last metric, time.")
    .addOption(coordinatorOption())
    .action(async (options: CommonOptions & CoordinatorOption) => {
      const operator = new Operator(options.coordinator);
      const [runs, clients] = await Promise.all([operator.runs(), operator.clients()]);
      const rows = runs.map((run) => summary(run, clients));
      cli.output(options).result("ls/1", { runs: rows, clients }, lines(rows, clients));
    });
}

type Row = ReturnType<typeof summary>;

function summary(run: RunStatus, clients: readonly ClientStatus[]) {
  const view = viewOf(run, clients, systemClock.now());
  const last = view.history.at(-1);
  const { id, name, status, round, rounds, reason, elapsedMs } = view;
  const ok = last?.ok ?? 0;
  return {
    id,
    name,
    status,
    round,
    rounds,
    reason,
    ok,
    failed: last?.failed ?? 0,
    metrics: last?.metrics ?? {},
    loss: last?.loss,
    elapsedMs,
  };
}

function lines(rows: readonly Row[], clients: readonly ClientStatus[]): string[] {
  const here = clients.filter(({ connected }) => connected).length;
  const head = `${here} client${here === 1 ? "" : "s"} connected`;
  if (rows.length === 0) return [`No runs yet; ${head}. Start one: fedloom run FILE.yaml --coordinator URL`];
  const columns = ["run", "name", "status", "round", "ok/failed", "last metric", "time"].map((title) => ({
    title,
  }));
  const cells = rows.map((row) => [
    row.id,
    row.name,
    row.status,
    `${row.round}/${row.rounds}`,
    `${row.ok}/${row.failed}`,
    lastMetric(row),
    duration(row.elapsedMs),
  ]);
  const reasons = rows.flatMap(({ id, reason }) =>
    reason === undefined ? [] : [`${id}: ${headline(reason)}`],
  );
  return [...table(columns, cells), "", ...reasons, head];
}

/** The first held-out metric, or the training loss of a run that evaluates nothing. */
function lastMetric({ metrics, loss }: Row): string {
  const [first] = Object.entries(metrics);
  if (first !== undefined) return `${first[0]} ${figure(first[1])}`;
  return loss === undefined ? "-" : `loss ${figure(loss)}`;
}
