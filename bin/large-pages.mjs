/**
 * Large pages for what training walks over. A step reads and writes hundreds of megabytes; on pages of 4 KiB the processor
 * looks up the address of each, inside a virtual machine twice over. glibc asks the kernel for pages of 2 MiB where the
 * environment says so when a process starts; older glibc and other systems take no notice.
 */
const TUNABLE = "glibc.malloc.hugetlb=1";

/** What the environment lacks for large pages: nothing where it has tunables of its own, or where there is no glibc. */
export function largePages() {
  const given = process.platform !== "linux" || Boolean(process.env.GLIBC_TUNABLES);
  return given ? {} : { GLIBC_TUNABLES: TUNABLE };
}

/** Begins this process anew with large pages, if it lacks them: same arguments, same process id. Only Node 24 can. */
export function beginOnLargePages() {
  const lacking = largePages();
  // A parent's channel would not survive; such a parent passes on its own environment.
  if (Object.keys(lacking).length === 0 || process.connected) return;
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, ...lacking });
}
