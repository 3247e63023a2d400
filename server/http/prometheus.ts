/**
 * The coordinator's numbers for Prometheus, made when they are asked for from what is known anyway: nothing is
 * counted a second time, so nothing is lost or doubled by a restart.
 *
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import type { monitorEventLoopDelay } from "node:perf_hooks";
import type { Coordinator } from "../coordinator.ts";
import { statusOf } from "../status.ts";

interface Family {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

export function prometheusText(
  coordinator: Coordinator,
  loop: ReturnType<typeof monitorEventLoopDelay>,
): string {
  const { presence } = coordinator.parts;
  const runs = coordinator.runs().map((engine) => ({
    labels: { run: engine.run.id, name: engine.run.config.name },
    status: statusOf(coordinator, engine),
  }));
  const perRun = (
    name: string,
    type: Family["type"],
    help: string,
    value: (run: (typeof runs)[number]["status"]) => number,
  ) =>
    ({
      name,
      type,
      help,
      samples: runs.map(({ labels, status }) => [labels, value(status)]),
    }) satisfies Family;
  const total = (
    status: (typeof runs)[number]["status"],
    key: "ok" | "failed" | "bytesUp" | "bytesDown" | "durationMs",
  ) => status.history.reduce((sum, round) => sum + round[key], 0);
  const single = (name: string, help: string, value: number): Family => ({
    name,
    type: "gauge",
    help,
    samples: [[{}, value]],
  });

  const families: Family[] = [
    single(
      "fedloom_clients_connected",
      "Clients with a standing connection.",
      presence.known().filter((client) => presence.session(client) !== undefined).length,
    ),
    {
      name: "fedloom_run_status",
      type: "gauge",
      help: "1 for the status that the run is in.",
      samples: runs.map(({ labels, status }) => [{ ...labels, status: status.status }, 1]),
    },
    perRun("fedloom_run_round", "gauge", "Current round.", ({ round }) => round),
    perRun("fedloom_run_rounds", "gauge", "Rounds of the whole run.", ({ rounds }) => rounds),
    perRun("fedloom_run_rounds_done_total", "counter", "Rounds published.", ({ history }) => history.length),
    perRun("fedloom_run_updates_total", "counter", "Updates aggregated.", (status) => total(status, "ok")),
    perRun("fedloom_run_failures_total", "counter", "Clients that failed in a round.", (status) =>
      total(status, "failed"),
    ),
    perRun("fedloom_run_bytes_up_total", "counter", "Bytes of updates.", (status) =>
      total(status, "bytesUp"),
    ),
    perRun("fedloom_run_bytes_down_total", "counter", "Bytes of adapters handed out.", (status) =>
      total(status, "bytesDown"),
    ),
    perRun(
      "fedloom_run_seconds_total",
      "counter",
      "Time of the rounds published.",
      (status) => total(status, "durationMs") / 1000,
    ),
    single("process_resident_memory_bytes", "Resident memory.", process.memoryUsage.rss()),
    single("process_cpu_seconds_total", "Processor time.", processorSeconds()),
    single(
      "fedloom_event_loop_delay_seconds",
      "99th percentile of the event loop's delay.",
      loop.percentile(99) / 1e9,
    ),
  ];
  return families.map(textOf).join("");
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function textOf({ name, type, help, samples }: Family): string {
  const lines = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function escaped(label: string): string {
  return label.replace(/[\\"\n]/g, (found) => (found === "\n" ? "\\n" : `\\${found}`));
}
