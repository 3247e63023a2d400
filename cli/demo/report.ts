/** What the demo says at the end, and writes into report.md. */
import type { RunView } from "../screen/view.ts";
import { table } from "../table.ts";
import { bytes, duration, figure } from "../units.ts";
import { CHANCE, SITES } from "./data.ts";

export interface DemoOutcome {
  readonly view: RunView;
  /** Held-out metrics of the adapter that round 1 was handed: the base model's own answers. */
  readonly before: Readonly<Record<string, number>>;
  readonly files: Readonly<Record<string, string>>;
}

export function reportLines({ view, before, files }: DemoOutcome): string[] {
  const after = view.history.at(-1)?.metrics ?? {};
  const [first, last] = [view.history[0], view.history.at(-1)];
  const sent = view.history.reduce((sum, { downBytes, upBytes }) => sum + downBytes + upBytes, 0);
  return [
    `Held-out accuracy ${percent(before.accuracy)} before, ${percent(after.accuracy)} after (guessing: ${percent(CHANCE)}).`,
    `Training loss ${shown(first?.loss)} in round 1, ${shown(last?.loss)} in round ${last?.round ?? 0}.`,
    `${SITES.length} clients, ${view.history.length} rounds, ${bytes(sent)} sent, ${duration(view.elapsedMs)}.`,
    "",
    ...table([{ title: "what" }, { title: "where" }], Object.entries(files)),
  ];
}

export function reportPage({ view, before, files }: DemoOutcome): string {
  const rows = view.history.map(
    ({ round, ok, loss, metrics, durationMs }) =>
      `| ${round} | ${ok} | ${shown(loss)} | ${shown(metrics.accuracy)} | ${shown(metrics.loss)} | ${duration(durationMs)} |`,
  );
  const sites = SITES.map(({ name, kind, examples }) => `| ${name} | ${kind} | ${examples} |`);
  return `# Demo: run ${view.id}

Four sites trained one LoRA adapter together. None sent an example; each sent an adapter a round. The question is always
which way a parcel goes, seen in a picture, read in a list, or both; its color decides, and the answer is chosen among
${1 / CHANCE} by likelihood.

| site | holds | examples |
|---|---|---|
${sites.join("\n")}

Accuracy on the coordinator's held-out set (as many of each kind, none of them trained on): ${percent(before.accuracy)} before, guessing ${percent(CHANCE)}.

| round | clients | training loss | held-out accuracy | held-out loss | time |
|---|---|---|---|---|---|
${rows.join("\n")}

| what | where |
|---|---|
${Object.entries(files)
  .map(([what, where]) => `| ${what} | ${where} |`)
  .join("\n")}
`;
}

function percent(share: number | undefined): string {
  return share === undefined ? "-" : `${(100 * share).toFixed(1)} %`;
}

function shown(value: number | undefined): string {
  return value === undefined ? "-" : figure(value);
}
