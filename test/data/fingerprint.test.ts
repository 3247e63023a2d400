import { createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Example, Media } from "../../data/example.ts";
import { fingerprintOf } from "../../data/fingerprint.ts";
import { bytesMedia } from "../../data/media.ts";

const picture = (...bytes: number[]): Media => bytesMedia("picture", Uint8Array.from(bytes));

function example(over: Partial<Example> = {}): Example {
  return {
    id: "e1",
    turns: [
      { role: "user", content: "<image>What is it?" },
      { role: "assistant", content: "a star" },
    ],
    images: [picture(1, 2, 3)],
    audios: [],
    ...over,
  };
}

const sha = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");

test("is what its formula says, with and without a key", async () => {
  const [one, two] = [example(), example({ id: "e2", images: [], label: "north", options: ["a", "b"] })];
  const turns =
    '"turns":[{"content":"<image>What is it?","role":"user"},{"content":"a star","role":"assistant"}]';
  const e1 = sha(`{"id":"e1",${turns}}\n${sha(Uint8Array.of(1, 2, 3))}\n`);
  const e2 = sha(`{"id":"e2","label":"north","options":["a","b"],${turns}}\n\n`);
  expect(await fingerprintOf([one, two])).toBe(sha(`fedloom examples 1 2 ${e1}${e2}`));
  const key = new Uint8Array(32).fill(7);
  expect(await fingerprintOf([one, two], { key })).toBe(
    createHmac("sha256", key).update(`fedloom examples 1 2 ${e1}${e2}`).digest("hex"),
  );
});

test("does not depend on where media lie, nor on the order of fields", async () => {
  const elsewhere = { ...example(), images: [bytesMedia("/other/place.png", Uint8Array.of(1, 2, 3))] };
  const turned = example({ turns: example().turns.map(({ role, content }) => ({ content, role })) });
  const before = await fingerprintOf([example()]);
  expect(await fingerprintOf([elsewhere])).toBe(before);
  expect(await fingerprintOf([turned])).toBe(before);
});

test.each<[string, readonly Example[]]>([
  ["a bit of a picture", [example({ images: [picture(1, 2, 2)] })]],
  ["a word", [example({ turns: [{ role: "user", content: "<image>What is this?" }] })]],
  ["the label", [example({ label: "star" })]],
  ["a picture that is a sound", [example({ images: [], audios: [picture(1, 2, 3)] })]],
  ["a picture more", [example({ images: [picture(1, 2, 3), picture()] })]],
  ["one example more", [example(), example({ id: "e2" })]],
  ["none", []],
])("%s changes it", async (_, changed) => {
  expect(await fingerprintOf(changed)).not.toBe(await fingerprintOf([example()]));
});

test("lists of examples with one fingerprint are one list", async () => {
  const letter = fc.constantFrom("a", "b", "\n", " ");
  const text = fc.string({ unit: letter, maxLength: 3 });
  const media = fc.array(fc.uint8Array({ maxLength: 2 }), { maxLength: 2 });
  const list = fc.array(fc.record({ id: text, content: text, images: media, audios: media }), {
    maxLength: 2,
  });
  const examplesOf = (
    plain: readonly { id: string; content: string; images: Uint8Array[]; audios: Uint8Array[] }[],
  ) =>
    plain.map(({ id, content, images, audios }): Example => {
      const [asImages, asAudios] = [images, audios].map((all) => all.map((bytes) => bytesMedia("m", bytes)));
      return { id, turns: [{ role: "user", content }], images: asImages!, audios: asAudios! };
    });
  const plainOf = (value: unknown): string =>
    JSON.stringify(value, (_, inner) => (inner instanceof Uint8Array ? [...inner] : inner));
  await fc.assert(
    fc.asyncProperty(list, list, async (a, b) => {
      const [one, other] = [await fingerprintOf(examplesOf(a)), await fingerprintOf(examplesOf(b))];
      expect(one === other).toBe(plainOf(a) === plainOf(b));
    }),
  );
});

test("whoever lacks the key cannot tell from it whether a guess is right", async () => {
  const keys = [1, 2].map((fill) => new Uint8Array(32).fill(fill));
  const told = await Promise.all(keys.map((key) => fingerprintOf([example()], { key })));
  expect(new Set([...told, await fingerprintOf([example()])]).size).toBe(3);
});

test("ends when it is told to, and tells how far it is", async () => {
  const ending = new AbortController();
  const seen: number[] = [];
  const hashing = fingerprintOf([example(), example({ id: "e2" })], {
    signal: ending.signal,
    onProgress(done) {
      seen.push(done);
      ending.abort(new Error("enough"));
    },
  });
  await expect(hashing).rejects.toThrow("enough");
  expect(seen).toEqual([1]);
});
