import { expect, onTestFinished, test, vi } from "vitest";
import { lackingEnvironment } from "../../bin/start-memory.mjs";
import { pagesCheck } from "../../cli/doctor/pages.ts";
import { start } from "./process.ts";

const ASKED = "glibc.malloc.hugetlb=1";

test("the kernel's setting decides first, then what glibc was asked for", () => {
  expect(pagesCheck("[always] madvise never\n", "")).toMatchObject({ ok: true });
  expect(pagesCheck("always [madvise] never\n", ASKED)).toMatchObject({ ok: true });
  expect(pagesCheck("always [madvise] never\n", "glibc.malloc.check=1").remedy).toMatch(ASKED);
  expect(pagesCheck("always madvise [never]\n", ASKED).remedy).toMatch(/^echo madvise/);
});

test.runIf(process.platform === "linux")("what a user has set stays as it is", () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("GLIBC_TUNABLES", "");
  vi.stubEnv("NODE_OPTIONS", "--stack-trace-limit=30");
  const lacking = lackingEnvironment();
  expect(lacking).toEqual({
    GLIBC_TUNABLES: ASKED,
    NODE_OPTIONS: "--stack-trace-limit=30 --max-semi-space-size=4",
  });
  for (const [name, value] of Object.entries(lacking)) vi.stubEnv(name, value);
  expect(lackingEnvironment()).toEqual({});
  vi.stubEnv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0");
  vi.stubEnv("NODE_OPTIONS", "--max-semi-space-size=32");
  expect(lackingEnvironment()).toEqual({});
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
