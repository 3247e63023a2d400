import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { armFailpoints, FAILPOINTS, failpoint, parseFailpoints } from "../../base/failpoint.ts";

test("docs/durability.md lists every place, and no other", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "durability.md"), "utf8");
  const [, list = ""] = page.split("## The places where processes die");
  const listed = [...list.matchAll(/^\| `((?:client|server)\.[\w-]+)` \| (.+) \|$/gm)].map((row) =>
    row.slice(1),
  );
  expect(listed).toEqual(Object.entries(FAILPOINTS));
});

test("a place fails at the pass that was asked for, once", () => {
  armFailpoints("server.published=error:EIO@2");
  failpoint("server.published");
  failpoint("server.finishing");
  expect(() => failpoint("server.published")).toThrow(/EIO/);
  failpoint("server.published");
  armFailpoints("");
});

test("a misspelt place is refused with those that there are", () => {
  expect(() => parseFailpoints("server.publish=kill")).toThrow(/"server\.publish=kill".*server\.published/);
});
