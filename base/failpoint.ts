/**
 * Named places where a test makes the process die or an operation fail, in the code that users run.
 *
 * `FEDLOOM_FAILPOINTS=name=kill,other=error:ENOSPC@3` : at the third pass of "other" the caller gets an Error
 * with code ENOSPC; at the first pass of "name" the process ends as `kill -9` ends it: nothing is flushed, no
 * handler runs. Without the variable a failpoint is one comparison.
 *
 * The table is closed, so that the chaos test can visit every name and a misspelt one does not compile.
 */
export const FAILPOINTS = {
  "client.key-kept": "the key of a site that joins is on its disk, the coordinator was not asked",
  "client.certified": "the coordinator certified a site's key, the site's disk does not have the certificate",
  "client.task-noted": "the task is on the client's disk, nothing was fetched",
  "client.state-write": "a note is about to be written to the state directory",
  "client.blob-append": "a fetched chunk is about to be written",
  "client.chunk-fetched": "a chunk of a fetched blob was written to the partial file",
  "client.blob-fetched": "a fetched blob lies under its hash",
  "client.trained": "training is done, its result is in memory only",
  "client.blob-write": "a part of the update is about to be written",
  "client.update-written": "the update's files are on disk, the note that names them is not",
  "client.update-kept": "the finished update is on disk, nothing was sent",
  "client.chunk-pushed": "a chunk of an upload was handed to the connection",
  "client.blob-pushed": "the coordinator confirmed an uploaded blob",
  "client.submitted": "the coordinator acknowledged the result, the client still holds it",
  "client.settled": "the acknowledged result is gone from the client's disk",
  "server.cohort-chosen": "the cohort is drawn, the journal does not have it",
  "server.chunk-written": "a chunk of an upload was written to the partial file",
  "server.blob-syncing": "an upload or a result is written and about to be synced",
  "server.blob-synced": "the blob's bytes are on disk, its name is not",
  "server.blob-renamed": "the blob lies under its hash, nobody was told",
  "server.event-appending": "events are decided, the journal does not have them",
  "server.event-syncing": "events are in the journal's log and about to be synced",
  "server.event-appended": "events are in the journal, nobody was told",
  "server.site-enrolled": "a site's token is spent and the site in the journal, the site was not told",
  "server.result-noted": "a client's result is in the journal, the client was not told",
  "server.aggregated": "the round's result is in the blobs, the journal does not have it",
  "server.evaluated": "the global adapter was evaluated, the journal does not have the metrics",
  "server.published": "the round's files are written, the journal does not have it",
  "server.finishing": "the final adapter is written, the journal does not have it",
} as const satisfies Record<string, string>;

export type Failpoint = keyof typeof FAILPOINTS;

interface Armed {
  readonly action: "kill" | { readonly errno: string };
  /** Passes left before it strikes; it strikes once. */
  passesLeft: number;
}

let armed: Map<string, Armed> | undefined;

/** Marks a place. @throws Error with `code` where the environment asks for one here */
export function failpoint(name: Failpoint): void {
  armed ??= parseFailpoints(process.env.FEDLOOM_FAILPOINTS ?? "");
  if (armed.size === 0) return;
  const here = armed.get(name);
  if (here === undefined || --here.passesLeft !== 0) return;
  if (here.action === "kill") {
    process.kill(process.pid, "SIGKILL");
    // The signal is asynchronous; not one more statement may run.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    return;
  }
  const { errno } = here.action;
  throw Object.assign(new Error(`${errno}: failpoint ${name}`), { code: errno });
}

/** @throws RangeError for a name that is not in the table or an action that there is not */
export function parseFailpoints(text: string): Map<string, Armed> {
  const parsed = new Map<string, Armed>();
  for (const part of text.split(",").filter((piece) => piece !== "")) {
    const match = /^([\w.-]+)=(kill|error:([A-Z]+))(?:@([1-9]\d*))?$/.exec(part);
    if (match === null || !Object.hasOwn(FAILPOINTS, match[1]!)) {
      throw new RangeError(
        `Cannot arm failpoint "${part}": wanted NAME=kill or NAME=error:ERRNO, then @PASS where it is not the first; names: ${Object.keys(FAILPOINTS).join(", ")}`,
      );
    }
    const errno = match[3];
    parsed.set(match[1]!, {
      action: errno === undefined ? "kill" : { errno },
      passesLeft: Number(match[4] ?? 1),
    });
  }
  return parsed;
}

/** Arms failpoints within this process, for tests; the empty text disarms all. */
export function armFailpoints(text: string): void {
  armed = parseFailpoints(text);
}
