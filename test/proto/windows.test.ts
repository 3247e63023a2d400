import { EventEmitter } from "node:events";
import fc from "fast-check";
import { expect, test } from "vitest";
import { connectionWindow, shareWindows, type Windowed } from "../../proto/windows.ts";

const MIB = 2 ** 20;

class Session extends EventEmitter {
  destroyed = false;
  connection = 0;
  stream = 0;
  setLocalWindowSize(bytes: number): void {
    this.connection = bytes;
  }
  settings({ initialWindowSize = 0 }: { initialWindowSize?: number }): void {
    this.stream = initialWindowSize;
  }
  end(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

test("one client has 16 MiB, many share 64 MiB, and none gets less than moves", () => {
  expect([1, 4, 5, 10, 100, 512].map((n) => connectionWindow(n) / MIB)).toEqual([16, 16, 8, 4, 0.5, 0.125]);
  expect(connectionWindow(100_000)).toBe(128 * 1024);
});

test("whoever comes and goes, all connections have the window of their number", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (steps) => {
      const take = shareWindows();
      const there: Session[] = [];
      for (const comes of steps) {
        if (comes) {
          const session = new Session();
          there.push(session);
          // as: of a session only these members are used.
          take(session as unknown as Windowed);
        } else there.shift()?.end();
        const wanted = connectionWindow(there.length);
        for (const { connection, stream } of there)
          expect([connection, stream]).toEqual([wanted, wanted / 2]);
      }
    }),
  );
});
