/** A coordinator as its operators see it: the HTTP interface of server/http, checked by its schemas. */
import { InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { systemClock } from "../base/clock.ts";
import { FedloomError, isCode, messageOf } from "../base/errors.ts";
import type { RunConfig } from "../config/run.ts";
import {
  auditEntry,
  type ClientStatus,
  clientStatus,
  invitation,
  problem,
  type RunStatus,
  runStatus,
  type Streamed,
  site,
  streamed,
  verification,
  withdrawal,
} from "../server/http/schema.ts";

/** Where a coordinator answers operators unless it is told otherwise. */
export const DEFAULT_HTTP = "127.0.0.1:7480";

/** A bearer token, for a coordinator that is not on this machine. Not an option: other users see command lines. */
export const TOKEN_VARIABLE = "FEDLOOM_TOKEN";

/** Time between two attempts to reach a coordinator that went away. */
const RETRY_MS = 1_000;

export interface CoordinatorOption {
  readonly coordinator: string;
}

export function coordinatorOption(): Option {
  return new Option("--coordinator <url>", "HTTP address of the coordinator")
    .default(`http://${DEFAULT_HTTP}`)
    .argParser(parseUrl);
}

/** `http://host:port`, or `host:port` for short. */
export function parseUrl(text: string): string {
  const full = /^[a-z]+:\/\//.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) throw new InvalidArgumentError(`It must be a URL such as http://${DEFAULT_HTTP}.`);
  return new URL(full).origin;
}

const runList = z.object({ runs: z.array(runStatus) });
const verifications = z.object({ verifications: z.array(verification) });
const siteList = z.object({ sites: z.array(site) });
const audit = z.object({ audit: z.array(auditEntry) });
const operatorToken = z.object({ token: z.string() });
const clientList = z.object({ clients: z.array(clientStatus) });

function isOver({ status }: RunStatus): boolean {
  return status === "finished" || status === "stopped";
}

export class Operator {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async runs(): Promise<RunStatus[]> {
    return (await this.#json("GET", "/v1/runs", runList)).runs;
  }

  /** A run by its id, the start of its id, or its name where only one run has it. */
  async find(word: string): Promise<RunStatus> {
    const runs = await this.runs();
    const exact = runs.find(({ id }) => id === word);
    if (exact !== undefined) return exact;
    const found = runs.filter(({ id, name }) => name === word || id.startsWith(word));
    if (found.length === 1) return found[0]!;
    const known = runs.map(({ id, name }) => `${id} (${name})`).join(", ");
    throw new FedloomError(
      "F4006",
      found.length === 0
        ? `Cannot find run "${word}": ${known === "" ? "the coordinator has no runs" : `there are ${known}`}`
        : `Cannot tell which run "${word}" is: it could be ${found.map(({ id }) => id).join(", ")}; give the whole id`,
      { run: word },
    );
  }

  run(id: string): Promise<RunStatus> {
    return this.#json("GET", `/v1/runs/${id}`, runStatus);
  }

  async clients(): Promise<ClientStatus[]> {
    return (await this.#json("GET", "/v1/clients", clientList)).clients;
  }

  /** @param key the same key again means the same run */
  submit(config: RunConfig, key: string): Promise<RunStatus> {
    return this.#json("POST", "/v1/runs", runStatus, { config, key });
  }

  stop(id: string, now: boolean): Promise<RunStatus> {
    return this.#json("POST", `/v1/runs/${id}/stop`, runStatus, { now });
  }

  resume(id: string): Promise<RunStatus> {
    return this.#json("POST", `/v1/runs/${id}/resume`, runStatus, {});
  }

  /** A new run that goes on after a kept round of another one. */
  fork(id: string, round: number, config: RunConfig | undefined): Promise<RunStatus> {
    return this.#json("POST", `/v1/runs/${id}/fork`, runStatus, { round, config });
  }

  async verify(id: string, round: number | undefined): Promise<z.output<typeof verification>[]> {
    return (await this.#json("POST", `/v1/runs/${id}/verify`, verifications, { round })).verifications;
  }

  invite(name: string, minutes: number): Promise<z.output<typeof invitation>> {
    return this.#json("POST", "/v1/sites", invitation, { name, minutes });
  }

  async sites(): Promise<z.output<typeof site>[]> {
    return (await this.#json("GET", "/v1/sites", siteList)).sites;
  }

  /** @returns how many unused join tokens the site had */
  async withdraw(name: string): Promise<number> {
    const path = `/v1/sites/${encodeURIComponent(name)}/withdraw`;
    return (await this.#json("POST", path, withdrawal, {})).withdrawn;
  }

  async revoke(name: string): Promise<void> {
    await this.#json("POST", `/v1/sites/${encodeURIComponent(name)}/revoke`, siteList, {});
  }

  async admit(name: string, role: "operator" | "viewer", days: number): Promise<string> {
    return (await this.#json("POST", "/v1/tokens", operatorToken, { name, role, days })).token;
  }

  /** @returns how many tokens the operator or viewer had */
  async dismiss(name: string): Promise<number> {
    const path = `/v1/tokens/${encodeURIComponent(name)}/withdraw`;
    return (await this.#json("POST", path, withdrawal, {})).withdrawn;
  }

  async audit(): Promise<z.output<typeof auditEntry>[]> {
    return (await this.#json("GET", "/v1/audit", audit)).audit;
  }

  async adapterFile(id: string, file: string, round: number | "best" | undefined): Promise<Uint8Array> {
    const query = round === undefined ? "" : `?round=${round}`;
    const response = await this.#call("GET", `/v1/runs/${id}/adapter/${file}${query}`);
    return new Uint8Array(await response.arrayBuffer());
  }

  /**
   * The journal after an event, then what happens, until the run is over or `signal` aborts. A coordinator that
   * goes away is waited for: it comes back with everything it said.
   *
   * @param onLost told once for each time the connection is lost
   */
  async *watch(id: string, signal: AbortSignal, onLost: (reason: string) => void): AsyncGenerator<Streamed> {
    let after = 0;
    let lost = false;
    let first = true;
    while (!signal.aborted) {
      try {
        for await (const message of this.#stream(id, after, signal)) {
          lost = false;
          first = false;
          if (message.kind === "event") after = message.seq;
          yield message;
          if (message.kind === "status" && isOver(message.status)) return;
        }
        throw new FedloomError("F5001", "it ended the connection"); // as a coordinator does that shuts down
      } catch (error) {
        if (signal.aborted) return;
        // A refusal, or a coordinator that was never there, is for the caller.
        if (first || (error instanceof FedloomError && error.code !== "F5001")) throw error;
        if (!lost) onLost(messageOf(error));
        lost = true;
        await new Promise<void>((resolve) => systemClock.after(RETRY_MS, resolve));
      }
    }
  }

  async *#stream(id: string, after: number, signal: AbortSignal): AsyncGenerator<Streamed> {
    const response = await this.#call("GET", `/v1/runs/${id}/events?after=${after}`, undefined, signal);
    let rest = "";
    for await (const text of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart())
          .join("\n");
        if (data !== "") yield streamed.parse(JSON.parse(data));
      }
    }
  }

  async #json<Schema extends z.ZodType>(
    method: string,
    path: string,
    schema: Schema,
    body?: unknown,
  ): Promise<z.output<Schema>> {
    const response = await this.#call(method, path, body);
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (parsed.success) return parsed.data;
    throw new FedloomError(
      "F5003",
      `Cannot understand ${this.url}: its answer to ${method} ${path} is not a fedloom coordinator's`,
      { url: this.url },
      { cause: parsed.error },
    );
  }

  async #call(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    let response: Response;
    const token = process.env[TOKEN_VARIABLE] ?? "";
    try {
      response = await fetch(this.url + path, {
        method,
        headers: {
          ...(token !== "" && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      if (signal?.aborted) throw cause;
      const why =
        cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : messageOf(cause);
      throw new FedloomError(
        "F5001",
        `Cannot reach the coordinator at ${this.url}: ${why}; is it running, with --http at this address?`,
        { url: this.url },
        { cause },
      );
    }
    if (response.ok) return response;
    const refusal = problem.safeParse(await response.json().catch(() => undefined));
    if (refusal.success && isCode(refusal.data.code))
      throw new FedloomError(refusal.data.code, refusal.data.message);
    throw new FedloomError(
      "F5003",
      `Cannot ${method} ${this.url}${path}: it answers with status ${response.status}`,
      {
        url: this.url,
        status: response.status,
      },
    );
  }
}
