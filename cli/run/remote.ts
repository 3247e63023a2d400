/** A run at a coordinator: submitted over HTTP, then followed on the screen. */
import { systemClock } from "../../base/clock.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import type { RunConfig } from "../../config/run.ts";
import type { ExitCode } from "../exit-codes.ts";
import { Operator } from "../operator.ts";
import type { Output } from "../output.ts";
import { createRunScreen } from "../screen/run-screen.ts";
import type { RunView } from "../screen/view.ts";
import { viewOf } from "../screen/view-of-status.ts";
import { onEnding } from "../signals.ts";

export async function runRemotely(
  config: RunConfig,
  { url, detach }: { url: string; detach: boolean },
  output: Output,
): Promise<ExitCode> {
  const operator = new Operator(url);
  // One key a start: sent twice by a broken connection it is one run, started again by a person it is another.
  const key = sha256(`${canonicalJson(config)} ${systemClock.now()} ${process.pid}`);
  const { id, name, rounds, directory, seed } = await operator.submit(config, key);
  const where = directory === undefined ? "" : `, files in ${directory} there`;
  output.line(`Run ${id} "${name}": ${rounds} rounds, seed ${seed}${where}`);
  if (detach) {
    output.result("run/1", { run: id, name, status: "waiting" }, [
      `See it with: fedloom ls --coordinator ${url}`,
    ]);
    return 0;
  }
  const ending = onEnding();
  const screen = createRunScreen(output.json ? process.stderr : process.stdout, systemClock.monotonic);
  const lost = (reason: string): void =>
    screen.print(`The coordinator does not answer (${reason}); trying again`);
  let view: RunView | undefined;
  try {
    for await (const message of operator.watch(id, ending.signal, lost)) {
      if (message.kind !== "status") continue;
      view = viewOf(message.status, await operator.clients(), systemClock.now());
      screen.show(view);
    }
  } finally {
    screen.close();
    ending.release();
  }
  const { status = "waiting", history = [] } = view ?? {};
  output.result("run/1", { run: id, name, status, rounds: history });
  if (ending.signal.aborted) {
    output.note(`Detached: run ${id} goes on; stop it with: fedloom stop ${id} --coordinator ${url}`);
    return ending.exitCode();
  }
  if (status !== "finished") return 8;
  output.note(`Fetch the adapter with: fedloom export ${id} --peft DIR --coordinator ${url}`);
  return 0;
}
