/** Sites and operators over HTTP: invite, list, revoke, look at the audit trail. */
import type { Hono } from "hono";
import { FedloomError } from "../../base/errors.ts";
import type { Gate } from "../identity/gate.ts";
import type { Trail } from "../journal/trail.ts";
import { bodyOf } from "./body.ts";
import { inviteBody, tokenBody } from "./schema.ts";

/** What every call knows of its caller. */
export interface Called {
  Variables: { caller: string };
}

export type OperatorApp = Hono<Called>;

/** Entries of the audit trail that one look shows. */
const AUDIT_ENTRIES = 1_000;

export function addAudit(app: OperatorApp, trail: Trail): void {
  app.get("/v1/audit", async (context) => context.json({ audit: await trail.newest(AUDIT_ENTRIES) }));
}

export function addSites(app: OperatorApp, gate: Gate): void {
  app.get("/v1/sites", (context) => context.json({ sites: gate.sites() }));
  app.post("/v1/sites", async (context) => {
    const { name, minutes } = await bodyOf(context, inviteBody);
    const token = await gate.invite(name, minutes * 60_000, context.get("caller"));
    return context.json({ name, token, minutes }, 201);
  });
  app.post("/v1/sites/:name/withdraw", async (context) => {
    const name = context.req.param("name");
    return context.json({ name, withdrawn: await gate.withdraw(name, context.get("caller")) });
  });
  app.post("/v1/sites/:name/revoke", async (context) => {
    await gate.revoke(context.req.param("name"), context.get("caller"));
    return context.json({ sites: gate.sites() });
  });
  app.post("/v1/tokens", async (context) => {
    const { name, role, days } = await bodyOf(context, tokenBody);
    const token = await gate.admitOperator(name, role, days * 86_400_000, context.get("caller"));
    return context.json({ name, role, days, token }, 201);
  });
  app.post("/v1/tokens/:name/withdraw", async (context) => {
    const name = context.req.param("name");
    return context.json({ name, withdrawn: await gate.dismiss(name, context.get("caller")) });
  });
}

/** Says why none of it is there. */
export function refuseSites(app: OperatorApp): void {
  const paths = [
    "/v1/sites",
    "/v1/sites/:name/withdraw",
    "/v1/sites/:name/revoke",
    "/v1/tokens",
    "/v1/tokens/:name/withdraw",
  ];
  for (const path of paths) {
    app.all(path, (context) => {
      throw new FedloomError(
        "F4022",
        `Cannot ${context.req.method} ${context.req.path}: this coordinator has no certificate authority, so it knows no sites and tokens; make one with "fedloom ca init" and start it again`,
      );
    });
  }
}
