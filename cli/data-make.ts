/** `fedloom data make`: draws stand-ins of the benchmark's datasets, in their published formats. */
import { type Command, Option } from "commander";
import { STANDINS } from "../data/standins/index.ts";
import { makeStandin, standinNamed } from "../data/standins/make.ts";
import { PROFILES, type Profile } from "../data/standins/standin.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { table } from "./table.ts";

interface MakeOptions extends CommonOptions {
  readonly profile: Profile;
  readonly seed: number;
  readonly out: string;
}

export function registerDataMake(cli: Cli, data: Command): void {
  const names = STANDINS.map(({ name }) => name).join(", ");
  cli
    .command("make [names...]", `Draw stand-in datasets, all or some of: ${names}.`, data)
    .requiredOption("--out <dir>", "directory to make the datasets' folders in")
    .addOption(new Option("--profile <size>", "how much is drawn").choices([...PROFILES]).default("standard"))
    .option("--seed <n>", "seed of everything drawn", wholeNumber(0), 42)
    .action(async (wanted: string[], options: MakeOptions) => {
      const standins = wanted.length === 0 ? STANDINS : wanted.map(standinNamed);
      const made = [];
      for (const standin of standins) made.push(await makeStandin(standin, options.out, options));
      cli.output(options).result("data-make/1", { out: options.out, datasets: made }, [
        ...table(
          [
            { title: "dataset" },
            { title: "format" },
            { title: "train", align: "right" },
            { title: "test", align: "right" },
            { title: "pictures", align: "right" },
            { title: "folder" },
          ],
          made.map(({ name, format, train, test, pictures, folder }) => [
            name,
            format,
            String(train),
            String(test),
            String(pictures),
            folder,
          ]),
        ),
        "",
        `Drawn stand-ins, not the datasets whose formats they have: each folder's card says what they are.`,
      ]);
    });
}
