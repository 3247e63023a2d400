/** Names of tasks: the same task has the same name after any restart, on either side. */

export interface TaskName {
  readonly run: string;
  /** In an asynchronous run, where a client may train several times from one adapter, the draw in place of the round. */
  readonly round: number;
  readonly kind: "train" | "evaluate";
  readonly client: string;
}

export function formatTaskId({ run, round, kind, client }: TaskName): string {
  return `${run}/${round}/${kind}/${client}`;
}

/** @returns undefined for a text that names no task */
export function parseTaskId(text: string): TaskName | undefined {
  const match = /^([^/]{1,64})\/([1-9]\d{0,8})\/(train|evaluate)\/([^/]{1,64})$/.exec(text);
  if (match === null) return undefined;
  const [, run, round, kind, client] = match;
  return { run: run!, round: Number(round), kind: kind === "train" ? "train" : "evaluate", client: client! };
}
