/**
 * Rounds and runs told as transcripts: a command, `----`, the state and the work that follow, a blank line. "crash"
 * throws the state away and makes it again from the events so far: nothing may change.
 */
import { expect } from "vitest";
import { FedloomError } from "../../base/errors.ts";
import type { UpdateRecord } from "../../server/records.ts";

export interface Machine<State, Event> {
  start(command: string): State;
  decide(state: State, command: string): readonly Event[];
  apply(state: State, event: Event): State;
  show(state: State): string;
}

export function follow<State, Event>(machine: Machine<State, Event>, transcript: string): void {
  const steps = transcript
    .trim()
    .split(/\n\s*\n/)
    .map((step) => step.split(/\s*\n\s*----\s*\n\s*/));
  let initial: State | undefined;
  let state: State | undefined;
  const events: Event[] = [];
  const told = steps.map(([command = ""]) => {
    const line = command.trim();
    if (state === undefined || initial === undefined) {
      initial = machine.start(line);
      state = initial;
      return `${line}\n----\n${machine.show(state)}`;
    }
    if (line === "crash") {
      state = events.reduce<State>((before, event) => machine.apply(before, event), initial);
      return `${line}\n----\n${machine.show(state)}`;
    }
    try {
      const decided = machine.decide(state, line);
      for (const event of decided) {
        state = machine.apply(state, event);
        events.push(event);
      }
      const repeat = decided.length === 0 ? "nothing new: " : "";
      return `${line}\n----\n${repeat}${machine.show(state)}`;
    } catch (error) {
      if (!(error instanceof FedloomError)) throw error;
      return `${line}\n----\nrefused ${error.code}: ${error.message}`;
    }
  });
  const wanted = steps.map(([command = "", after = ""]) => `${command.trim()}\n----\n${after.trim()}`);
  expect(told.join("\n\n")).toBe(wanted.join("\n\n"));
}

/** "update c1 sha=aa" -> ["update", "c1", {sha: "aa"}] */
export function words(line: string): {
  readonly verb: string;
  readonly rest: string[];
  readonly options: Record<string, string>;
} {
  const [verb = "", ...parts] = line.split(/\s+/);
  const options = Object.fromEntries(
    parts.filter((part) => part.includes("=")).map((part) => part.split("=") as [string, string]),
  );
  return { verb, rest: parts.filter((part) => !part.includes("=")), options };
}

export function listOf(text = ""): string[] {
  return text
    .replace(/[()]/g, "")
    .split(",")
    .filter((name) => name !== "");
}

/** An update of which only the hash matters. */
export function updateOf(sha256: string): UpdateRecord {
  const blob = { sha256, size: 1 };
  const adapter = { config: { sha256: "cc", size: 1 }, model: blob };
  return { adapter, extras: {}, examples: 1, steps: 1, tokens: 1, touched: {}, metrics: {}, durationMs: 1 };
}
