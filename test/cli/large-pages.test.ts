import { expect, test } from "vitest";
import { pagesCheck } from "../../cli/doctor/pages.ts";
import { start } from "./process.ts";

const ASKED = "glibc.malloc.hugetlb=1";

test("the kernel's setting decides first, then what glibc was asked for", () => {
  expect(pagesCheck("[always] madvise never\n", "")).toMatchObject({ ok: true });
  expect(pagesCheck("always [madvise] never\n", ASKED)).toMatchObject({ ok: true });
  expect(pagesCheck("always [madvise] never\n", "glibc.malloc.check=1").remedy).toMatch(ASKED);
  expect(pagesCheck("always madvise [never]\n", ASKED).remedy).toMatch(/^echo madvise/);
});

test.runIf(process.platform === "linux")("the program begins with large pages asked for", async () => {
  // What it finds in its own environment, in words that only its kernel's setting can change.
  const finding = async (tunables: string): Promise<string> => {
    const { stdout } = await start(["doctor", "--json"], { env: { GLIBC_TUNABLES: tunables } }).ended;
    const { checks } = JSON.parse(stdout) as { checks: { name: string; finding: string }[] };
    return checks.find(({ name }) => name === "large pages")?.finding ?? "no row";
  };
  const begun = await finding("");
  expect(begun).toBe(await finding(ASKED));
  const own = await finding("glibc.malloc.check=0");
  expect(["always", "asked for"].includes(own)).toBe(begun === "always");
});
