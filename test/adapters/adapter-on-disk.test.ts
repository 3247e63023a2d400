import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { adapterOnDisk } from "../../adapters/adapter-on-disk.ts";
import { copyPeft, decodeAdapter, encodeAdapter, readPeft, writePeft } from "../../adapters/peft.ts";
import { sha256 } from "../../base/hash.ts";
import { firstAdapter } from "../server/setting.ts";

function onDisk(adapter: Adapter) {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const files = encodeAdapter(adapter);
  const path = join(directory, "blob");
  writeFileSync(path, files.model);
  return { directory, path, files, lazy: adapterOnDisk(files.config, path, "test").adapter };
}

const plain = ({ config, tensors }: Adapter) => ({
  config,
  tensors: [...tensors].map(([name, { dtype, shape, data }]) => [name, dtype, shape, [...data]]),
});

test("an adapter on disk is the one in memory, also as a message to a thread", () => {
  const { files, lazy } = onDisk(firstAdapter());
  expect(plain(lazy)).toEqual(plain(decodeAdapter(files, "test")));
  expect(plain(structuredClone(lazy))).toEqual(plain(lazy));
});

test("it is written as a PEFT directory with the bytes of its file", () => {
  const { directory, files, lazy } = onDisk(firstAdapter());
  expect(writePeft(join(directory, "peft"), lazy)).toBe(sha256(files.model));
  expect(plain(readPeft(join(directory, "peft")))).toEqual(plain(lazy));
});

test("its directory with the file copied is the one that is written, byte for byte, and replaces what was there", async () => {
  const { directory, path, lazy } = onDisk(firstAdapter());
  const [written, copied] = [join(directory, "written"), join(directory, "copied")];
  writePeft(copied, firstAdapter(1));
  writePeft(written, lazy);
  await copyPeft(copied, lazy, path);
  const content = (of: string) => readdirSync(of).map((name) => [name, readFileSync(join(of, name), "hex")]);
  expect(content(copied)).toEqual(content(written));
  await expect(copyPeft(copied, lazy, join(directory, "nothing"))).rejects.toMatchObject({ code: "F3005" });
  expect(content(copied)).toEqual(content(written));
});

test("a file that is gone is named when somebody looks, and damage before that", () => {
  const { path, files, lazy } = onDisk(firstAdapter());
  rmSync(path);
  expect(() => [...lazy.tensors.values()][0]!.data).toThrow(expect.objectContaining({ code: "F3004" }));
  writeFileSync(path, files.model.subarray(0, 40));
  expect(() => adapterOnDisk(files.config, path, "test")).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^F300/) }),
  );
});
