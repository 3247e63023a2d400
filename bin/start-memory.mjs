/**
 * How a process must be started to use memory well; both are read once, when it starts.
 *
 * Large pages: a training step reads and writes hundreds of megabytes; on pages of 4 KiB the processor looks up the
 * address of each, inside a virtual machine twice over. glibc asks the kernel for pages of 2 MiB where its environment
 * says so; older glibc takes no notice.
 *
 * A small nursery: V8 lets 48 MiB of young objects gather before it looks at them, in each thread. What is large here
 * lies outside of V8, so that a twelfth of that serves as well.
 */
const TUNABLE = "glibc.malloc.hugetlb=1";
const NURSERY = "--max-semi-space-size=4";

/** What this process's environment lacks; nothing where there is no glibc. What a user has set stays. */
export function lackingEnvironment() {
  if (process.platform !== "linux") return {};
  const { GLIBC_TUNABLES, NODE_OPTIONS = "" } = process.env;
  return {
    ...(!GLIBC_TUNABLES && { GLIBC_TUNABLES: TUNABLE }),
    ...(!NODE_OPTIONS.includes("semi-space") && { NODE_OPTIONS: `${NODE_OPTIONS} ${NURSERY}`.trim() }),
  };
}

/** Starts this process anew where its environment lacks something: same arguments, same process id. Only Node 24 can. */
export function startAnew() {
  const lacking = lackingEnvironment();
  // A parent's channel would not survive; such a parent passes on its own environment.
  if (Object.keys(lacking).length === 0 || process.connected) return;
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, ...lacking });
}
