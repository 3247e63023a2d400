import { expect, test } from "vitest";
import { FedloomError } from "../../base/errors.ts";
import { createLog, errorFields, type LogOptions, MAX_FIELD_CHARACTERS } from "../../base/log.ts";

function recorded(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "json", write: (line) => lines.push(line), ...options });
  return { log, lines, parsed: (): unknown[] => lines.map((line) => JSON.parse(line)) };
}

test("a JSON line holds the level's name, the sentence, an ISO time and the fields", () => {
  const { log, parsed } = recorded();
  log.child({ run: "r1" }).warn("round closed", { round: 3, late: false });
  expect(parsed()).toEqual([
    {
      level: "warn",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      run: "r1",
      round: 3,
      late: false,
      msg: "round closed",
    },
  ]);
});

test("a pretty line is one line, whatever the message holds", () => {
  const { log, lines } = recorded({ format: "pretty" });
  log.error("first\nsecond", { code: "F1001", file: "a.yaml" });
  expect(lines).toEqual([
    expect.stringMatching(/^\d\d:\d\d:\d\d error first second \(F1001\) {2}file=a\.yaml$/),
  ]);
});

test("lines below the level are not written", () => {
  const { log, lines } = recorded({ level: "warn" });
  log.info("quiet");
  log.debug("quieter");
  expect(lines).toEqual([]);
});

test("fields that name secrets are masked, children's too", () => {
  const { log, lines } = recorded();
  log.child({ apiKey: "k-123" }).info("joined", { token: "t-456", password: "p-789" });
  expect(lines[0]).not.toMatch(/k-123|t-456|p-789/);
});

test("text longer than a message is cut, so that no example is logged whole", () => {
  const { log, lines } = recorded();
  log.info("read", { answer: "x".repeat(10_000) });
  expect(lines[0]!.length).toBeLessThan(MAX_FIELD_CHARACTERS + 200);
});

test("an error gives its code and its message", () => {
  expect(errorFields(new FedloomError("F1002", "Cannot read"))).toEqual({
    code: "F1002",
    reason: "Cannot read",
  });
  expect(errorFields("plain")).toEqual({ code: undefined, reason: "plain" });
});
