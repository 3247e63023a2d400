/** What every command shares: `--json`, `--verbose`, the table of exit codes, and how it ends. */
import { type Command, InvalidArgumentError } from "commander";
import { type ExitCode, exitCodesHelp } from "./exit-codes.ts";
import { createOutput, type Output } from "./output.ts";

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

export class Cli {
  readonly program: Command;
  exitCode: ExitCode = 0;

  constructor(program: Command) {
    this.program = program;
  }

  /** Adds a command. `words` is its name and arguments, such as "log <run>". */
  command(words: string, summary: string, parent: Command = this.program): Command {
    return parent
      .command(words)
      .description(summary)
      .option("--json", "print the result as JSON with a schema version")
      .option("--verbose", "show where an error came from")
      .addHelpText("after", `\n${exitCodesHelp()}`);
  }

  output(options: CommonOptions): Output {
    return createOutput({ json: options.json === true });
  }
}

/** For an option that is a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
    }
    return value;
  };
}

/** For an option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
