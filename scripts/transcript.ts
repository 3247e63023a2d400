/**
 * Writes docs/transcript.md: what an operator sees who enrolls two clients, starts a run, revokes one of them in
 * mid-run, kills the coordinator, starts it again and verifies. Every line on the page is a real process's.
 *
 *   node scripts/transcript.ts [--port N]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const program = join(root, "bin", "fedloom.mjs");
/** As a reader types it in a checkout, and where it is. */
const MODEL = "assets/models/fedloom-nano";
const model = join(root, MODEL);
const flag = process.argv.indexOf("--port");
const port = flag < 0 ? 7443 : Number(process.argv[flag + 1]);
const [listen, http] = [`127.0.0.1:${port}`, `127.0.0.1:${port + 37}`];
// The usual ports need no options.
const edges = port === 7443 ? "" : ` --listen ${listen} --http ${http}`;
const at = port === 7443 ? "" : ` --coordinator ${http}`;

/** Nobody waits for ever: a line that does not come ends the script. */
const PATIENCE_MS = 600_000;

const directory = mkdtempSync(join(tmpdir(), "fedloom-transcript-"));
const page: string[] = [];
const children: ChildProcess[] = [];

interface Running {
  readonly child: ChildProcess;
  readonly lines: string[];
  /** Resolves with the first line that matches. */
  line(pattern: RegExp): Promise<string>;
  readonly ended: Promise<number | null>;
}

function start(command: string, token = ""): Running {
  const args = command.replace(MODEL, model).replace("TOKEN", token).split(" ");
  const child = spawn(process.execPath, [program, ...args], {
    cwd: directory,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.on("data", (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split("\n");
      rest = parts.pop() ?? "";
      lines.push(...parts);
      for (const look of waiting) look();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return {
    child,
    lines,
    ended,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const fail = (): void => reject(new Error(`No ${pattern} from "${command}":\n${lines.join("\n")}`));
        const timer = setTimeout(fail, PATIENCE_MS);
        const look = (): void => {
          const found = lines.find((line) => pattern.test(line));
          if (found === undefined) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
        void ended.then(fail);
      }),
  };
}

/** Lines as they go onto the page: without the log's JSON, secrets and the place of this checkout. */
function shown(lines: readonly string[]): string[] {
  return lines
    .filter((line) => !line.startsWith("{"))
    .map((line) => line.replaceAll(model, MODEL).replaceAll(directory, "."));
}

function put(...lines: readonly string[]): void {
  page.push(...lines);
  console.log(lines.join("\n"));
}

/** Runs a command to its end and shows it with all it says. */
async function tell(command: string, show: (line: string) => string = (line) => line): Promise<string[]> {
  const running = start(command);
  const code = await running.ended;
  if (code !== 0) throw new Error(`"${command}" ended with ${code}:\n${running.lines.join("\n")}`);
  put(`$ fedloom ${command}`, ...shown(running.lines).map(show));
  return running.lines;
}

function manifestLines(): string[] {
  const runs = join(directory, "hello", "coordinator", "runs");
  const [run] = readdirSync(runs);
  return readFileSync(join(runs, run!, "manifest.json"), "utf8")
    .trim()
    .split("\n");
}

const section = (text: string): void => put("```", "", text, "", "```");

async function main(): Promise<void> {
  const data = start("demo --prepare --out hello");
  if ((await data.ended) !== 0) throw new Error(data.lines.join("\n"));
  page.push(
    "# A run with trouble in it",
    "",
    "Written by `node scripts/transcript.ts` from real processes; do not edit. The data and the run file are the demo's",
    "(`fedloom demo --prepare --out hello`); tokens are not shown.",
    "",
    "An authority, and a coordinator that serves enrolled sites only:",
    "",
    "```",
  );
  await tell("ca init --state hello/coordinator");
  const serve = `coordinator --state hello/coordinator --run hello/demo.yaml --set cohort.perRound=2 --set cohort.quorum=1 --set rounds=6${edges}`;
  put(`$ fedloom ${serve}`);
  const first = start(serve);
  await first.line(/waits for clients/);
  put(...shown(first.lines));

  section("Two sites are enrolled in a second shell, each with a token that works once:");
  const tokens: Record<string, string> = {};
  for (const name of ["harbor", "archive"]) {
    const lines = await tell(`enroll ${name}${at}`, (line) => (/^\S{40,}$/.test(line) ? "TOKEN" : line));
    tokens[name] = lines.find((line) => /^\S{40,}$/.test(line)) ?? "";
  }

  section("They join from shells of their own, and the run begins:");
  const clients: Record<string, Running> = {};
  for (const name of ["harbor", "archive"]) {
    const join_ = `client --join ${listen} --data hello/data/${name} --model ${MODEL} --state hello/clients/${name} --token TOKEN`;
    put(`$ fedloom ${join_}`);
    clients[name] = start(join_, tokens[name]);
  }
  let told = first.lines.length;
  const news = (running: Running): void => {
    put(...shown(running.lines.slice(told)));
    told = running.lines.length;
  };
  await first.line(/^ +2 +2\/2/);
  news(first);

  await clients.archive!.line(/"round":3.*"msg":"Task received"/);
  // Held still meanwhile: a round of the demo may take less time than a command.
  clients.archive!.child.kill("SIGSTOP");
  section("Who is there:");
  await tell(`clients${at}`);

  section("A site is revoked while it trains in round 3. Its own screen ends with the reason:");
  await tell(`clients revoke archive${at}`);
  clients.archive!.child.kill("SIGCONT");
  const code = await clients.archive!.ended;
  put(`(client archive, exit code ${code})`, ...shown(clients.archive!.lines).slice(-1));

  section("The coordinator names it, and the run goes on with the other one:");
  await first.line(/^ +3 +1\/2/);
  news(first);

  section("`kill -9` of the coordinator in round 4, and the same command again:");
  await clients.harbor!.line(/"round":4.*"msg":"Task received"/);
  first.child.kill("SIGKILL");
  await first.ended;
  put(`$ fedloom ${serve}`);
  const second = start(serve);
  await second.line(/^finished: 6 of 6 rounds/);
  put(...shown(second.lines));

  section("Afterwards: who is there, and whether the kept rounds are what their updates make:");
  await tell(`clients${at}`);
  await tell(`verify demo${at}`);
  section(
    "What the run was made with is in its manifest; of each site's data it has a fingerprint that only the site can make:",
  );
  const manifest = manifestLines();
  put("$ cat hello/coordinator/runs/*/manifest.json", ...manifest);
  section("The audit trail:");
  await tell(`audit${at}`);
  put("```");
  for (const { child } of [second, clients.harbor!]) child.kill("SIGINT");
  await Promise.all([second.ended, clients.harbor!.ended]);
  writeFileSync(join(root, "docs", "transcript.md"), `${page.join("\n")}\n`);
}

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});
await main();
