/** How a long-running command is told to end: Ctrl-C, a termination signal, or the end of the process that started it. */
import type { ExitCode } from "./exit-codes.ts";

export interface Ending {
  readonly signal: AbortSignal;
  /** The exit code that fits what ended it; 0 while nothing has. */
  exitCode(): ExitCode;
  /** Gives the signals back to the process. */
  release(): void;
}

const EXIT_OF: Readonly<Record<string, ExitCode>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 143 };

/**
 * The first signal asks the command to end; a second ends the process at once.
 *
 * A process started with an IPC channel ends when that channel closes, so that it never outlives its parent,
 * not even one that was killed.
 */
export function onEnding(): Ending {
  const controller = new AbortController();
  let code: ExitCode = 0;
  const end = (name: string): void => {
    const exit = EXIT_OF[name] ?? 143;
    if (controller.signal.aborted) process.exit(exit);
    code = exit;
    controller.abort();
  };
  const orphaned = (): void => end("SIGTERM");
  for (const name of Object.keys(EXIT_OF)) process.on(name, end);
  process.on("disconnect", orphaned);
  // An open channel alone must not keep a command alive that has nothing left to do.
  process.channel?.unref();
  return {
    signal: controller.signal,
    exitCode: () => code,
    release() {
      for (const name of Object.keys(EXIT_OF)) process.off(name, end);
      process.off("disconnect", orphaned);
    },
  };
}
