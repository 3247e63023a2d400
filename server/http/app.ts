/** The operator's interface: what can be asked and told over HTTP, as JSON (schema.ts). No sockets here. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { streamSSE } from "hono/streaming";
import { MODEL_FILE } from "../../adapters/peft.ts";
import { ERROR_CODES, FedloomError, messageOf, type Status } from "../../base/errors.ts";
import { SOFTWARE } from "../../proto/version.ts";
import type { Coordinator } from "../coordinator.ts";
import type { RunEngine } from "../engine.ts";
import type { Gate } from "../identity/gate.ts";
import { MAX_BODY_BYTES } from "../limits.ts";
import { clientsOf, statusOf } from "../status.ts";
import { type Verification, verify } from "../verify.ts";
import { adapterFiles } from "./adapter-files.ts";
import { bodyOf } from "./body.ts";
import { watchRun } from "./events.ts";
import { openApiDocument } from "./openapi.ts";
import { prometheusText } from "./prometheus.ts";
import { forkBody, type Problem, SCHEMA, stopBody, submitBody, verifyBody } from "./schema.ts";
import { addAudit, addSites, type Called, type OperatorApp, refuseSites } from "./sites.ts";

const HTTP_STATUS: Readonly<Partial<Record<Status, number>>> = {
  invalid_argument: 400,
  out_of_range: 413,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  failed_precondition: 409,
  aborted: 409,
  unavailable: 503,
};

export interface AppOptions {
  /** Values of the Host header that are answered: a page in a browser cannot reach us by another name. */
  allowedHosts(): readonly string[];
  /** Whether callers without a token are operators: on loopback they are. */
  readonly local: boolean;
  readonly gate: Gate | undefined;
}

export function operatorApp(
  coordinator: Coordinator,
  { allowedHosts, local, gate }: AppOptions,
): OperatorApp {
  const app: OperatorApp = new Hono();
  app.use(async (context, next) => {
    const host = context.req.header("host") ?? "";
    if (!allowedHosts().includes(host)) {
      throw new FedloomError(
        "F4020",
        `Cannot answer a request for host ${JSON.stringify(host.slice(0, 100))}: it is not this coordinator's`,
      );
    }
    await next();
  });
  app.use("/metrics", async (context, next) => {
    await callerOf(context.req.header("authorization"), { local, gate });
    await next();
  });
  app.use("/v1/*", async (context, next) => {
    const caller = await callerOf(context.req.header("authorization"), { local, gate });
    if (caller.role !== "operator" && context.req.method !== "GET") {
      throw new FedloomError(
        "F4024",
        `Cannot ${context.req.method} ${context.req.path}: "${caller.name}" may only look`,
      );
    }
    context.set("caller", caller.name);
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new FedloomError("F5007", `Cannot accept a request of more than ${MAX_BODY_BYTES} bytes`);
      },
    }),
  );

  const show = (engine: RunEngine) => statusOf(coordinator, engine);
  const find = (context: Context) => coordinator.engine(context.req.param("id") ?? "");
  /** Into the audit trail; what is done to sites and tokens the gate notes itself, a run's beginning is noted with the run. */
  const note = (context: Context<Called>, what: string) => coordinator.note(context.get("caller"), what);

  app.get("/healthz", (context) => context.json({ status: "ok", software: SOFTWARE, schema: SCHEMA }));
  const loop = monitorEventLoopDelay();
  loop.enable();
  app.get("/metrics", (context) => context.text(prometheusText(coordinator, loop)));
  app.get("/openapi.json", (context) => context.json(openApiDocument()));
  app.get("/v1/clients", (context) => context.json({ clients: clientsOf(coordinator) }));
  app.get("/v1/runs", (context) => context.json({ runs: coordinator.runs().map(show) }));
  app.post("/v1/runs", async (context) => {
    const submission = { ...(await bodyOf(context, submitBody)), by: context.get("caller") };
    const engine = await coordinator.submitRun(submission);
    return context.json(show(engine), 201);
  });
  app.get("/v1/runs/:id", (context) => context.json(show(find(context))));
  app.post("/v1/runs/:id/stop", async (context) => {
    const engine = find(context);
    const body = await bodyOf(context, stopBody);
    await coordinator.stop(engine.run.id, body);
    await note(context, `stopped run ${engine.run.id} ${body.now ? "at once" : "after its round"}`);
    return context.json(show(engine));
  });
  app.post("/v1/runs/:id/resume", async (context) => {
    const engine = find(context);
    await coordinator.resume(engine.run.id);
    await note(context, `resumed run ${engine.run.id}`);
    return context.json(show(engine));
  });
  app.post("/v1/runs/:id/verify", async (context) => {
    const engine = find(context);
    const { round } = await bodyOf(context, verifyBody);
    const verifications = await verify(engine, round);
    await note(context, `verified run ${engine.run.id}: ${outcomeOf(verifications)}`);
    return context.json({ verifications });
  });
  app.post("/v1/runs/:id/fork", async (context) => {
    const { run } = find(context);
    const { round, config = run.config, key } = await bodyOf(context, forkBody);
    const forked = await coordinator.fork(run.id, round, { config, key, by: context.get("caller") });
    return context.json(show(forked), 201);
  });
  app.get("/v1/runs/:id/adapter/:file", async (context) => {
    const engine = find(context);
    const [round, name] = [context.req.query("round"), context.req.param("file")];
    const file = await adapterFiles(engine, round, name);
    if (name === MODEL_FILE) {
      await note(
        context,
        `took the adapter of run ${engine.run.id}${round === undefined ? "" : `, round ${round}`}`,
      );
    }
    return context.body(new Uint8Array(file), 200, { "content-type": "application/octet-stream" });
  });
  app.get("/v1/runs/:id/events", (context) => {
    const engine = find(context);
    const after = Number(context.req.header("last-event-id") ?? context.req.query("after") ?? 0);
    return streamSSE(context, async (stream) => {
      const gone = new AbortController();
      stream.onAbort(() => gone.abort());
      for await (const message of watchRun(
        coordinator,
        engine,
        Number.isSafeInteger(after) ? after : 0,
        gone.signal,
      )) {
        const id = message.kind === "event" ? { id: String(message.seq) } : {};
        await stream.writeSSE({ event: message.kind, data: JSON.stringify(message), ...id });
      }
    });
  });

  addAudit(app, coordinator.parts.store.trail);
  if (gate !== undefined) addSites(app, gate);
  else refuseSites(app);

  app.notFound((context) => {
    const error = new FedloomError(
      "F4018",
      `Cannot ${context.req.method} ${context.req.path}: there is no such thing here`,
    );
    return context.json(problemOf(error), 404);
  });
  app.onError((error, context) => {
    if (!(error instanceof FedloomError)) {
      coordinator.log.error("Request failed", { path: context.req.path, reason: messageOf(error) });
      const hidden = new FedloomError("F5003", "Cannot answer: the coordinator met an internal error");
      return context.json(problemOf(hidden), 500);
    }
    // as: hono types statuses as the literals it knows; these are among them.
    return context.json(problemOf(error), (HTTP_STATUS[error.status] ?? 500) as 400);
  });
  return app;
}

async function callerOf(
  header: string | undefined,
  { local, gate }: Pick<AppOptions, "local" | "gate">,
): Promise<{ readonly name: string; readonly role: string }> {
  if (header === undefined && local) return { name: "local operator", role: "operator" };
  const bearer = /^Bearer (\S+)$/.exec(header ?? "")?.[1];
  const known = bearer === undefined ? undefined : await gate?.operator(bearer);
  if (known !== undefined) return known;
  throw new FedloomError("F4024", "Cannot answer: the request shows no operator's token that counts");
}

/** What a verification found, in a few words. */
function outcomeOf(verifications: readonly Verification[]): string {
  const differing = verifications.filter(({ equal }) => !equal).map(({ round }) => round);
  if (differing.length > 0) return `round ${differing.join(", ")} DIFFERS`;
  const count = verifications.length;
  return `${count} ${count === 1 ? "round" : "rounds"} equal`;
}

function problemOf({ code, message }: FedloomError): Problem {
  return { code, message, remedy: ERROR_CODES[code].remedy };
}
