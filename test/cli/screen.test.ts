import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { bar, clientLines } from "../../cli/screen/clients.ts";
import { noPaint } from "../../cli/screen/paint.ts";
import { createRunScreen } from "../../cli/screen/run-screen.ts";
import type { ClientView, RoundView, RunView } from "../../cli/screen/view.ts";
import { textWidth } from "../../cli/table.ts";

function client(id: string, more: Partial<ClientView> = {}): ClientView {
  return {
    id,
    holds: "96 image+text",
    doing: "train",
    done: 6,
    total: 12,
    loss: 0.5,
    downBytes: 1000,
    upBytes: 0,
    ...more,
  };
}

function round(number: number, more: Partial<RoundView> = {}): RoundView {
  return {
    round: number,
    ok: 4,
    failed: 0,
    loss: 1 / number,
    metrics: {},
    downBytes: 2048,
    upBytes: 2048,
    durationMs: 2000,
    ...more,
  };
}

function view(more: Partial<RunView> = {}): RunView {
  return {
    id: "r1",
    name: "demo",
    status: "running",
    phase: "collecting",
    round: 1,
    rounds: 4,
    elapsedMs: 1000,
    clients: [client("a"), client("b")],
    history: [],
    failures: [],
    ...more,
  };
}

/** A stream that is or is not a terminal, and what was written to it. */
function stream(terminal?: { columns: number; rows: number }) {
  const written: string[] = [];
  const through = new PassThrough();
  through.on("data", (chunk: Buffer) => written.push(chunk.toString()));
  const target = Object.assign(through, terminal === undefined ? {} : { isTTY: true, ...terminal });
  // as: the screen uses write(), isTTY, columns and rows of a terminal stream only
  return { target: target as unknown as NodeJS.WriteStream, text: () => written.join("") };
}

describe("without a terminal", () => {
  test("rounds and failures are plain lines, each once, with no control characters", () => {
    const { target, text } = stream();
    const screen = createRunScreen(target, () => 0);
    screen.show(view());
    screen.show(view({ history: [round(1, { metrics: { accuracy: 0.25 } })] }));
    const failures = [{ client: "b", round: 2, phase: "train", code: "F2104", message: "Cannot train" }];
    const second = view({ round: 2, history: [round(1), round(2, { ok: 1, failed: 1 })], failures });
    screen.show(second);
    screen.show(second);
    screen.close();
    expect(text().split("\n")).toEqual([
      "round  clients     loss  accuracy      down        up     time",
      "    1      4/4        1      0.25   2.0 KiB   2.0 KiB    2.0 s",
      "client b failed in train of round 2: Cannot train (F2104)",
      "    2      1/2      0.5         -   2.0 KiB   2.0 KiB    2.0 s",
      "",
    ]);
  });

  test("a metric that first comes in a later round gets its column then", () => {
    const { target, text } = stream();
    const screen = createRunScreen(target, () => 0);
    screen.show(view({ history: [round(1), round(2, { metrics: { auc: 0.75 } }), round(3)] }));
    expect(text().split("\n")).toEqual([
      "round  clients     loss      down        up     time",
      "    1      4/4        1   2.0 KiB   2.0 KiB    2.0 s",
      "round  clients     loss      auc      down        up     time",
      "    2      4/4      0.5     0.75   2.0 KiB   2.0 KiB    2.0 s",
      "    3      4/4   0.3333        -   2.0 KiB   2.0 KiB    2.0 s",
      "",
    ]);
  });

  test("the end says how many rounds were done and why it ended", () => {
    const { target, text } = stream();
    const screen = createRunScreen(target, () => 0);
    const ended = view({ status: "failed", history: [round(1)], reason: "no client succeeded" });
    screen.show(ended);
    screen.show(ended);
    expect(text().trim().split("\n").at(-1)).toBe("failed after 1 of 4 rounds in 1.0 s: no client succeeded");
  });
});

describe("in a terminal", () => {
  test("the live table is drawn over itself and taken away at the end", () => {
    const { target, text } = stream({ columns: 80, rows: 24 });
    let now = 0;
    const screen = createRunScreen(target, () => now);
    screen.show(view());
    now = 1000;
    screen.show(view({ elapsedMs: 2000 }));
    screen.close();
    // A head, the titles and two clients: four lines up before the second drawing, and again before the end.
    expect(text().split("\u001b[4A\u001b[0J")).toHaveLength(3);
    expect(text().endsWith("\u001b[?25h")).toBe(true);
  });

  test("it is drawn at most every 100 ms", () => {
    const { target, text } = stream({ columns: 80, rows: 24 });
    let now = 0;
    const screen = createRunScreen(target, () => now);
    for (; now < 1000; now += 10) screen.show(view());
    screen.close();
    expect(text().split("round 1/4")).toHaveLength(11);
  });
});

describe("the live table", () => {
  test.each([20, 30, 40, 60, 80, 200])("fits into %i columns", (width) => {
    const lines = clientLines(view({ history: [round(1)] }), { width, height: 24 }, noPaint);
    expect(Math.max(...lines.map(textWidth))).toBeLessThanOrEqual(width);
    expect(lines[2]).toContain("a");
  });

  test("leaves the least important columns out first", () => {
    const titles = (width: number) => clientLines(view(), { width, height: 24 }, noPaint)[1];
    expect(titles(100)).toMatch(/^client +doing +loss +down +up +holds$/);
    expect(titles(45)).toMatch(/^client +doing +loss/);
    expect(titles(45)).not.toContain("holds");
  });

  test("shows what fits of many clients, and counts the others", () => {
    const clients = Array.from({ length: 30 }, (_, i) => client(`site-${i}`));
    const lines = clientLines(view({ clients }), { width: 80, height: 14 }, noPaint);
    expect(lines.length).toBeLessThan(14);
    expect(lines.at(-1)).toBe("and 20 more");
  });

  test("estimates the time left from the finished rounds", () => {
    // Two rounds of 2 s are done; of the third, the mean of a = all done and b = nothing done yet, of 4 rounds.
    const clients = [client("a", { doing: "done" }), client("b", { doing: "fetch", total: 0 })];
    const [head] = clientLines(
      view({ round: 3, history: [round(1), round(2)], clients }),
      { width: 80, height: 24 },
      noPaint,
    );
    // (4 - 2 - 0.5) rounds of 2 s
    expect(head).toContain("about 3.0 s left");
  });
});

test("a bar grows by half cells and stays in its cells", () => {
  expect([0, 0.25, 0.5, 1, 7, -1].map((share) => bar(share, 2))).toEqual([
    "  ",
    "╸ ",
    "━ ",
    "━━",
    "━━",
    "  ",
  ]);
});
