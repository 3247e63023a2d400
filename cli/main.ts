/** The command line: `main` runs one command and says how it ended. One file a command. */
import { Command, CommanderError } from "commander";
import { FedloomError } from "../base/errors.ts";
import { Cli } from "./cli.ts";
import { type ExitCode, exitCodeOf, exitCodesHelp } from "./exit-codes.ts";
import { reportError } from "./output.ts";
import { packageVersion } from "./package.ts";

/**
 * In the order in which --help lists them: what starts something, what looks and acts, what tells beforehand.
 * Only the command that is asked for is loaded: an engine takes a second that `ls` does not need.
 */
const COMMANDS: Readonly<Record<string, () => Promise<(cli: Cli) => void>>> = {
  demo: async () => (await import("./demo.ts")).registerDemo,
  coordinator: async () => (await import("./coordinator.ts")).registerCoordinator,
  client: async () => (await import("./client.ts")).registerClient,
  run: async () => (await import("./run.ts")).registerRun,
  ls: async () => (await import("./ls.ts")).registerLs,
  log: async () => (await import("./log.ts")).registerLog,
  stop: async () => (await import("./stop.ts")).registerStop,
  resume: async () => (await import("./resume.ts")).registerResume,
  verify: async () => (await import("./verify.ts")).registerVerify,
  fork: async () => (await import("./fork.ts")).registerFork,
  export: async () => (await import("./export.ts")).registerExport,
  ca: async () => (await import("./ca.ts")).registerCa,
  enroll: async () => (await import("./enroll.ts")).registerEnroll,
  sites: async () => (await import("./enroll.ts")).registerSites,
  clients: async () => (await import("./clients.ts")).registerClients,
  revoke: async () => (await import("./enroll.ts")).registerRevoke,
  token: async () => (await import("./token.ts")).registerToken,
  audit: async () => (await import("./token.ts")).registerAudit,
  plan: async () => (await import("./plan.ts")).registerPlan,
  model: async () => (await import("./model.ts")).registerModel,
  merge: async () => (await import("./merge.ts")).registerMerge,
  aggregate: async () => (await import("./aggregate.ts")).registerAggregate,
  data: async () => (await import("./data.ts")).registerData,
  partition: async () => (await import("./partition.ts")).registerPartition,
  replay: async () => (await import("./replay.ts")).registerReplay,
  doctor: async () => (await import("./doctor.ts")).registerDoctor,
};

/** @param argv what stands behind the program's name */
export async function main(argv: readonly string[]): Promise<ExitCode> {
  const cli = new Cli(createProgram());
  for (const load of wanted(argv)) (await load())(cli);
  for (const command of allCommands(cli.program)) {
    command.exitOverride().configureOutput({ writeErr: () => {} });
  }
  try {
    process.stdout.on("error", endQuietly); // "fedloom ls | head" closes the pipe early
    if (argv.length === 0) cli.program.outputHelp();
    else await cli.program.parseAsync(argv, { from: "user" });
    return cli.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help and --version
    const group = cli.program.commands.find((command) => command.name() === argv[0]);
    if (
      error instanceof CommanderError &&
      error.code === "commander.help" &&
      argv.length === 1 &&
      group !== undefined
    ) {
      group.outputHelp(); // "fedloom model" alone: what there is below it
      return 0;
    }
    const reported = error instanceof CommanderError ? usageError(error, argv) : error;
    reportError(reported, { json: argv.includes("--json"), verbose: argv.includes("--verbose") });
    return exitCodeOf(reported);
  }
}

/** The command that the line names; all of them for help, and for a name that needs a suggestion. */
function wanted(argv: readonly string[]) {
  if (argv[0] === "--version") return [];
  const named = Object.hasOwn(COMMANDS, argv[0] ?? "") ? COMMANDS[argv[0]!] : undefined;
  return named === undefined ? Object.values(COMMANDS) : [named];
}

function createProgram(): Command {
  return new Command("fedloom")
    .description("Federated fine-tuning of multimodal language models: LoRA adapters over gRPC.")
    .version(packageVersion(), "--version", "print the version")
    .helpCommand(true)
    .addHelpText("after", `\n${exitCodesHelp()}`);
}

function endQuietly(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
}

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

/** Commander's own words ("error: unknown option '--lisen'\n(Did you mean --listen?)") as one of our sentences. */
function usageError(error: CommanderError, argv: readonly string[]): FedloomError {
  if (error.code === "commander.help")
    return new FedloomError("F1003", `Cannot show help: no command "${argv[1]}"; see "fedloom --help"`);
  const words = argv.filter((word) => !word.startsWith("-"));
  const command = ["fedloom", ...words.slice(0, 1)].join(" ");
  const what = error.message
    .replace(/^error: /, "")
    .replaceAll(/'([^']*)'/g, '"$1"')
    .replace(/\n\(Did you mean (one of )?(.*?)\?\)/s, (_, several: string | undefined, names: string) =>
      several === undefined ? ` (did you mean "${names}"?)` : ` (did you mean one of ${names}?)`,
    )
    .replaceAll(/\s*\n\s*/g, " ")
    .replace(/\.$/, "");
  const program = error.code === "commander.unknownCommand" ? "fedloom" : command;
  return new FedloomError("F1003", `Cannot run "${command}": ${what}; see "${program} --help"`);
}
