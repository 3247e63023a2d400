/** A cell of the benchmark's table: one dataset in one setting, trained by one method from one seed. */
import { FedloomError } from "../../base/errors.ts";
import type { DatasetName, ScenarioName } from "../fedmllm/scenario.ts";

export interface Setting {
  readonly scenario: ScenarioName;
  readonly level: number;
}

export interface Cell {
  readonly dataset: DatasetName;
  /** Absent for methods that see no partition: zero-shot and centralized. */
  readonly setting?: Setting;
  readonly method: string;
  readonly seed: number;
}

/** "hateful-memes/missing-0.3/fedyogi/seed-1": unique, and a path below the output folder. */
export function cellId({ dataset, setting, method, seed }: Cell): string {
  return [dataset, settingName(setting), method, `seed-${seed}`].join("/");
}

export function settingName(setting: Setting | undefined): string {
  return setting === undefined ? "all" : `${setting.scenario}-${setting.level}`;
}

/**
 * The cells whose id matches a glob: "*" stands for anything within a part, "**" for any parts.
 *
 * @throws FedloomError F6020 where none does, with the parts that are known
 */
export function selectCells(cells: readonly Cell[], glob: string | undefined): readonly Cell[] {
  if (glob === undefined) return cells;
  const pattern = new RegExp(
    `^${glob
      .split("**")
      .map((part) => part.split("*").map(escaped).join("[^/]*"))
      .join(".*")}(/.*)?$`,
  );
  const chosen = cells.filter((cell) => pattern.test(cellId(cell)));
  if (chosen.length > 0) return chosen;
  const known = (part: (cell: Cell) => string): string => [...new Set(cells.map(part))].join(", ");
  throw new FedloomError(
    "F6020",
    `Cannot replay cells "${glob}": none of ${cells.length} is called so; an id is DATASET/SETTING/METHOD/SEED with datasets ${known((c) => c.dataset)}; settings ${known((c) => settingName(c.setting))}; methods ${known((c) => c.method)}`,
    { glob },
  );
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
