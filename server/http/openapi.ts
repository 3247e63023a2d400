/** The operator's interface as an OpenAPI document, made from the schemas that check it (schema.ts). */
import { z } from "zod";
import { SOFTWARE } from "../../proto/version.ts";
import {
  auditEntry,
  clientStatus,
  forkBody,
  invitation,
  inviteBody,
  problem,
  runStatus,
  SCHEMA,
  site,
  stopBody,
  streamed,
  submitBody,
  tokenBody,
  verification,
  verifyBody,
  withdrawal,
} from "./schema.ts";

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType | "text/event-stream" | "application/octet-stream" | "text/plain";
}

const OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/healthz",
    summary: "Whether the coordinator answers.",
    answer: z.object({ status: z.string() }),
  },
  { method: "get", path: "/metrics", summary: "Numbers for Prometheus.", answer: "text/plain" },
  { method: "get", path: "/v1/runs", summary: "All runs.", answer: z.object({ runs: z.array(runStatus) }) },
  { method: "post", path: "/v1/runs", summary: "Begin a run.", body: submitBody, answer: runStatus },
  { method: "get", path: "/v1/runs/{id}", summary: "One run.", answer: runStatus },
  {
    method: "get",
    path: "/v1/runs/{id}/events",
    summary: `The run as it happens; each event is: ${JSON.stringify(jsonSchema(streamed))}`,
    answer: "text/event-stream",
  },
  {
    method: "post",
    path: "/v1/runs/{id}/stop",
    summary: "Stop after the round, or now.",
    body: stopBody,
    answer: runStatus,
  },
  { method: "post", path: "/v1/runs/{id}/resume", summary: "Go on with a stopped run.", answer: runStatus },
  {
    method: "post",
    path: "/v1/runs/{id}/verify",
    summary: "Aggregate past rounds again and compare.",
    body: verifyBody,
    answer: z.object({ verifications: z.array(verification) }),
  },
  {
    method: "post",
    path: "/v1/runs/{id}/fork",
    summary: "A new run from a kept round.",
    body: forkBody,
    answer: runStatus,
  },
  {
    method: "get",
    path: "/v1/runs/{id}/adapter/{file}",
    summary: "A file of the global adapter's PEFT directory; ?round=N for a kept round.",
    answer: "application/octet-stream",
  },
  {
    method: "get",
    path: "/v1/clients",
    summary: "Clients that were seen.",
    answer: z.object({ clients: z.array(clientStatus) }),
  },
  {
    method: "get",
    path: "/v1/sites",
    summary: "Enrolled sites.",
    answer: z.object({ sites: z.array(site) }),
  },
  {
    method: "post",
    path: "/v1/sites",
    summary: "A join token for a site.",
    body: inviteBody,
    answer: invitation,
  },
  {
    method: "post",
    path: "/v1/sites/{name}/withdraw",
    summary: "Take back the join tokens of a site that nobody has used.",
    answer: withdrawal,
  },
  {
    method: "post",
    path: "/v1/sites/{name}/revoke",
    summary: "Keep a site out.",
    answer: z.object({ sites: z.array(site) }),
  },
  {
    method: "post",
    path: "/v1/tokens",
    summary: "A token for an operator or a viewer.",
    body: tokenBody,
    answer: z.object({ token: z.string() }),
  },
  {
    method: "post",
    path: "/v1/tokens/{name}/withdraw",
    summary: "Take back all tokens of an operator or a viewer.",
    answer: withdrawal,
  },
  {
    method: "get",
    path: "/v1/audit",
    summary: "Who did what.",
    answer: z.object({ audit: z.array(auditEntry) }),
  },
];

export function openApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const { method, path, summary, body, answer } of OPERATIONS) {
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    paths[path] = {
      ...paths[path],
      [method]: {
        summary,
        parameters: names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })),
        ...(body !== undefined && {
          requestBody: { content: { "application/json": { schema: jsonSchema(body, "input") } } },
        }),
        responses: {
          "200": { description: summary, content: contentOf(answer) },
          default: { description: "A refusal.", content: contentOf(problem) },
        },
      },
    };
  }
  const bearer = { type: "http", scheme: "bearer" };
  return {
    openapi: "3.1.0",
    info: { title: "fedloom coordinator", version: SOFTWARE, description: `Schema ${SCHEMA}.` },
    paths,
    components: { securitySchemes: { bearer } },
    security: [{}, { bearer: [] }],
  };
}

function contentOf(answer: Operation["answer"]): object {
  if (typeof answer === "string") return { [answer]: { schema: { type: "string" } } };
  return { "application/json": { schema: jsonSchema(answer) } };
}

function jsonSchema(schema: z.ZodType, io: "input" | "output" = "output"): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
