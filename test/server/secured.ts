/** A coordinator on loopback with an authority: sites enroll, and calls go over mutual TLS. */
import { credentials } from "@grpc/grpc-js";
import { z } from "zod";
import { type Clock, systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { enroll, type Identity } from "../../proto/enroll.ts";
import { connectFleet, type FleetClient } from "../../proto/service.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { startCoordinator } from "../../server/start.ts";
import { FakeClient, type FakeOptions } from "./fake-client.ts";
import { later, model, temporaryDirectory } from "./setting.ts";

const never = new AbortController().signal;

/** @param clock of the coordinator; the authority's is the system's */
export async function secured(state = temporaryDirectory(), clock: Clock = systemClock) {
  await openAuthority(state, systemClock);
  const running = await startCoordinator({
    state,
    log: silentLog,
    model,
    clock,
    listen: "127.0.0.1:0",
    http: "127.0.0.1:0",
  });
  later(() => running.close());
  const address = running.address!;
  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const answer = await fetch(`${running.httpUrl}${path}`, init);
    return z.record(z.string(), z.unknown()).parse(await answer.json());
  };
  const invite = async (name: string): Promise<string> =>
    String((await call("POST", "/v1/sites", { name })).token);
  const admitted = async (name: string): Promise<Identity> => enroll(address, await invite(name), never);
  const connection = ({ authority, key, certificate }: Identity): FleetClient => {
    const own = credentials.createSsl(Buffer.from(authority), Buffer.from(key), Buffer.from(certificate));
    const fleet = connectFleet(address, own);
    later(() => fleet.close());
    return fleet;
  };
  const join = (identity: Identity, id = identity.name, options: FakeOptions = {}): FakeClient => {
    const client = new FakeClient(connection(identity), id, options);
    client.ended.catch(() => undefined);
    later(() => client.close());
    return client;
  };
  return { ...running, address, state, call, invite, admitted, connection, join };
}
