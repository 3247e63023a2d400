/** Whether the memory that training walks over may lie on large pages (bin/start-memory.mjs). */
import { readFileSync } from "node:fs";
import type { Check } from "./check.ts";

const KERNEL_SETTING = "/sys/kernel/mm/transparent_hugepage/enabled";

/** One row on Linux, none elsewhere. */
export function pagesChecks(): Check[] {
  const setting = kernelSetting();
  return setting === undefined ? [] : [pagesCheck(setting, process.env.GLIBC_TUNABLES ?? "")];
}

/** @param setting as the kernel shows it, the one in force in brackets: "always [madvise] never" */
export function pagesCheck(setting: string, tunables: string): Check {
  const check = { name: "large pages", required: false };
  const force = /\[(\w+)\]/.exec(setting)?.[1];
  if (force === "always") return { ...check, ok: true, finding: "always" };
  if (force === "never") {
    const remedy = `echo madvise | sudo tee ${KERNEL_SETTING}`;
    return { ...check, ok: false, finding: "the kernel has them off; training takes longer", remedy };
  }
  if (tunables.includes("glibc.malloc.hugetlb=1")) return { ...check, ok: true, finding: "asked for" };
  const remedy = "export GLIBC_TUNABLES=$GLIBC_TUNABLES:glibc.malloc.hugetlb=1";
  return { ...check, ok: false, finding: "GLIBC_TUNABLES does not ask for them", remedy };
}

function kernelSetting(): string | undefined {
  try {
    return readFileSync(KERNEL_SETTING, "utf8");
  } catch {
    return undefined; // another system, or a kernel without them
  }
}
