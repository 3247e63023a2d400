/** Processes that die and are started again, and what must be true whatever died. */
import { FAILPOINTS, type Failpoint } from "../../base/failpoint.ts";
import { type Environment, type Federation, federation, finalHash, fleetHash } from "../e2e/federation.ts";
import type { Child } from "../e2e/processes.ts";

/** `npm run test:chaos` runs vitest in this mode: more kills, more flips, more clients. */
export const LONG = process.env.MODE === "long";

/** Two chunks a transfer, so that there is a middle. */
const WIDTH = 160_000;
/** Longest mean time of a round, on a loaded machine. */
const ROUND_MS = 10_000;

/** Before a site has a certificate: enroll.test.ts passes them. */
export const OF_ENROLMENT: readonly Failpoint[] = [
  "client.key-kept",
  "server.site-enrolled",
  "client.certified",
];

export const ALL_FAILPOINTS = Object.keys(FAILPOINTS) as Failpoint[];

/** Those that every round comes by. */
export const OF_RUNS = ALL_FAILPOINTS.filter((name) => !OF_ENROLMENT.includes(name));

/** How a process is to die: one entry a life; after the last it lives on. */
export type Deaths = readonly ((child: Child) => Promise<unknown>)[];

export function chaosFederation(rounds: number): Promise<Federation> {
  const evaluation = { data: "toy", metrics: [], every: 1 };
  return federation({ run: { rounds, evaluation }, width: WIDTH });
}

export function undisturbedHash(rounds: number): Promise<string> {
  return fleetHash({ rounds, width: WIDTH });
}

export interface Outcome {
  readonly hash: string;
  readonly kills: number;
  /** Of the failpoints given, those at which a process died. */
  readonly visited: readonly Failpoint[];
  /** Trainings that began, and those that came to their end. */
  readonly begun: number;
  readonly ended: number;
}

/**
 * One run in which the coordinator and client c1 die at each of the given failpoints, one after another, at the
 * pass that goes with it, and are started again at once.
 */
export async function dieAtEach(
  rounds: number,
  failpoints: readonly { readonly name: Failpoint; readonly pass: number }[],
): Promise<Outcome> {
  const setting = await chaosFederation(rounds);
  const visited: Failpoint[] = [];
  const ended = new AbortController();
  const lives = async (start: (environment?: Environment) => Child, who: string): Promise<Child> => {
    for (const { name, pass } of failpoints.filter((one) => one.name.startsWith(`${who}.`))) {
      const child = start({ FEDLOOM_FAILPOINTS: `${name}=kill@${pass}` });
      const over = new Promise<"over">((resolve) => {
        if (ended.signal.aborted) resolve("over");
        ended.signal.addEventListener("abort", () => resolve("over"), { once: true });
      });
      const how = await Promise.race([child.exited, over, tooLong(child, name)]);
      if (how === "over") return child;
      if (how.signal !== "SIGKILL") throw new Error(`A process ended by itself:\n${child.lines.join("\n")}`);
      visited.push(name);
    }
    return start();
  };
  setting.client("c2");
  const c1 = lives((environment) => setting.client("c1", {}, environment), "client");
  const coordinator = lives(setting.coordinator, "server").then((last) => finalHash(last, rounds * ROUND_MS));
  // The coordinator's last life ends the run; a client that has lives left then has missed a failpoint.
  const hash = await coordinator;
  ended.abort();
  await c1;
  return {
    hash,
    kills: visited.length,
    visited,
    begun: setting.trainings("begin").length,
    ended: setting.trainings("end").length,
  };
}

/** A life that does not come to its failpoint, on a loaded machine. */
const LIFE_MS = 180_000;

function tooLong(child: Child, name: Failpoint): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`No death at ${name} within ${LIFE_MS} ms:\n${child.lines.slice(-40).join("\n")}`));
    }, LIFE_MS);
    void child.exited.then(() => clearTimeout(timer));
  });
}

/** Kills one of the three processes at a moment of the test's choosing, again and again, and starts it again. */
export async function dieAtMoments(
  rounds: number,
  moments: readonly { readonly who: "coordinator" | "c1" | "c2"; readonly afterMs: number }[],
): Promise<Outcome> {
  const setting = await chaosFederation(rounds);
  const start = (who: "coordinator" | "c1" | "c2"): Child =>
    who === "coordinator" ? setting.coordinator() : setting.client(who);
  const children = { coordinator: start("coordinator"), c1: start("c1"), c2: start("c2") };
  let kills = 0;
  for (const { who, afterMs } of moments) {
    // A moment within the run is what is wanted here: it cannot be an event that the test waits for.
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    if (children.coordinator.lines.some((line) => line.startsWith("finished"))) break;
    await children[who].kill();
    kills++;
    children[who] = start(who);
  }
  const hash = await finalHash(children.coordinator, rounds * ROUND_MS);
  return {
    hash,
    kills,
    visited: [],
    begun: setting.trainings("begin").length,
    ended: setting.trainings("end").length,
  };
}
