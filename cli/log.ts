/** `fedloom log`: what happened in a run, event by event, from the coordinator's journal. */
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { onEnding } from "./signals.ts";

interface LogOptions extends CommonOptions, CoordinatorOption {
  readonly client?: string;
  readonly round?: number;
  readonly follow?: boolean;
}

/** What happens to a round that is closed: events that name none. */
const OF_CLOSED: ReadonlySet<string> = new Set([
  "aggregated",
  "evaluated",
  "client evaluated",
  "client evaluation failed",
  "evaluation over",
  "published",
]);

interface Entry {
  readonly seq: number;
  readonly atMs: number;
  readonly event: Readonly<Record<string, unknown>>;
}

export function registerLog(cli: Cli): void {
  cli
    .command("log <run>", "Show what happened in a run, from the coordinator's journal.")
    .option("--client <id>", "only what concerns this client")
    .option("--round <n>", "only what happened in this round", wholeNumber(1))
    .option("--follow", "go on with what happens, until the run is over")
    .addOption(coordinatorOption())
    .action(async (word: string, options: LogOptions) => {
      const ending = onEnding();
      const operator = new Operator(options.coordinator);
      const { id } = await operator.find(word);
      const output = cli.output(options);
      let round = 0;
      let closed = 0;
      try {
        for await (const message of operator.watch(id, ending.signal, output.note)) {
          // The first picture of the state comes when everything that has happened was told.
          if (message.kind === "status") {
            if (options.follow) continue;
            return;
          }
          const event: Entry["event"] = { ...message.event };
          if (typeof event.round === "number") round = event.round;
          if (event.type === "round closed") closed = round;
          // While one round is aggregated, updates of an asynchronous run tell of the next.
          if (OF_CLOSED.has(String(event.type))) round = closed;
          if (options.round !== undefined && options.round !== round) continue;
          if (options.client !== undefined && !concerns(event, options.client)) continue;
          output.result("log/1", { run: id, ...message }, [line({ ...message, event }, round)]);
        }
        cli.exitCode = ending.exitCode();
      } finally {
        ending.release();
      }
    });
}

function concerns(event: Entry["event"], client: string): boolean {
  if (event.client === client) return true;
  return ["cohort", "clients", "joined", "left"].some((key) => {
    const ids = event[key];
    return Array.isArray(ids) && ids.includes(client);
  });
}

function line({ atMs, event }: Entry, round: number): string {
  const { type, client, round: _, ...rest } = event;
  const time = new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
  const subject = typeof client === "string" ? ` ${client}` : "";
  return `${time}  round ${round}  ${String(type)}${subject}${details(rest)}`;
}

/** What an event says beside its type, in one short line: of records their numbers and reasons, of hashes their start. */
function details(rest: Readonly<Record<string, unknown>>): string {
  const words = Object.entries(rest).flatMap(([name, value]) => wordsOf(name, value));
  return words.length === 0 ? "" : `: ${words.join(", ")}`;
}

function wordsOf(name: string, value: unknown): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [] : [`${name} ${value.map(String).join(" ")}`];
  if (typeof value !== "object" || value === null) return [`${name} ${shown(value)}`];
  return Object.entries(value)
    .filter(([key, inner]) => TELLING.has(key) || (typeof inner === "number" && key !== "size"))
    .map(([key, inner]) => `${key} ${shown(inner)}`);
}

const TELLING = new Set(["phase", "code", "message", "reason"]);

function shown(value: unknown): string {
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  const text = String(value);
  return /^[0-9a-f]{64}$/.test(text) ? text.slice(0, 12) : text.replaceAll("\n", "\n    ");
}
