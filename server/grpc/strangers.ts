/**
 * What peers without a certificate may do: enroll, and ask for our health. Whatever else they call is refused before a
 * byte of it is read; of what they may call, few messages at once are under way and none for long.
 */
import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import type { Clock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { FLEET_METHODS, methodsOf } from "../../proto/service.ts";
import { toStatus } from "../../proto/status.ts";
import { MAX_STRANGERS_MESSAGES, STRANGERS_MESSAGE_MS } from "../limits.ts";

const OPEN: ReadonlySet<string> = new Set(
  [FLEET_METHODS.enroll, ...Object.values(methodsOf(Health))].map(({ path }) => path),
);

type Call = Pick<ServerInterceptingCallInterface, "getPeer" | "getAuthContext">;

export interface StrangersParts {
  readonly clock: Clock;
  /** @throws FedloomError for a peer that is not served */
  check(call: Call): void;
  onRefused(error: unknown, call: Call, path: string): void;
}

export function limitStrangers({ clock, check, onRefused }: StrangersParts): ServerInterceptor {
  let underWay = 0;
  /** @returns takes it back, once */
  const begin = (onSlow: () => void): (() => void) => {
    underWay++;
    const stop = clock.after(STRANGERS_MESSAGE_MS, onSlow);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      underWay--;
      stop();
    };
  };
  return ({ path }, call) => {
    let end = (): void => undefined;
    const refuse = (error: unknown): void => {
      onRefused(error, call, path);
      guarded.sendStatus(toStatus(error));
    };
    const guarded = new ServerInterceptingCall(call, {
      start(next) {
        try {
          if (!OPEN.has(path)) check(call);
          else if (underWay >= MAX_STRANGERS_MESSAGES) throw busy(call.getPeer());
          else end = begin(() => refuse(slow(call.getPeer())));
        } catch (error) {
          return refuse(error);
        }
        next({
          onReceiveMessage(message, pass) {
            end();
            pass(message);
          },
          onCancel: () => end(),
        });
      },
      sendStatus(status, pass) {
        end();
        pass(status);
      },
    });
    return guarded;
  };
}

function busy(peer: string): FedloomError {
  return new FedloomError(
    "F5007",
    `Cannot serve ${peer}: ${MAX_STRANGERS_MESSAGES} peers without a certificate are being listened to; try again`,
    { peer },
  );
}

function slow(peer: string): FedloomError {
  return new FedloomError(
    "F5007",
    `Cannot serve ${peer}: it did not finish its message within ${STRANGERS_MESSAGE_MS / 1000} s`,
    { peer },
  );
}
