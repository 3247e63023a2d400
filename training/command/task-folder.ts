/**
 * A task as files, which any language can read: docs/command-trainer.md describes them. Names in JSON are those
 * that Python users write.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import type { Adapter } from "../../adapters/adapter.ts";
import { assertSameKind } from "../../adapters/compatibility.ts";
import { readPeft, writePeft } from "../../adapters/peft.ts";
import { readSafetensors, writeSafetensors } from "../../adapters/safetensors.ts";
import type { TensorSet } from "../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { sha256 } from "../../base/hash.ts";
import type { Example, Media } from "../../data/example.ts";
import { readMedia } from "../models/picture.ts";

/** Of the files; a command may refuse one it does not know. */
export const TASK_VERSION = 1;

export async function writeTask(folder: string, task: Readonly<Record<string, unknown>>): Promise<void> {
  await mkdir(join(folder, "output"), { recursive: true });
  await writeFile(
    join(folder, "task.json"),
    `${JSON.stringify({ version: TASK_VERSION, ...task }, null, 2)}\n`,
  );
}

export async function writeAdapter(folder: string, adapter: Adapter): Promise<string> {
  const name = "adapter";
  await mkdir(join(folder, name), { recursive: true });
  writePeft(join(folder, name), adapter);
  return name;
}

/** @returns the files' names, by kind */
export async function writeSets(
  folder: string,
  name: string,
  sets: Readonly<Record<string, TensorSet>>,
): Promise<Record<string, string>> {
  await mkdir(join(folder, name), { recursive: true });
  const files: Record<string, string> = {};
  for (const [kind, set] of Object.entries(sets)) {
    files[kind] = `${name}/${kind}.safetensors`;
    await writeFile(join(folder, files[kind]), writeSafetensors(set));
  }
  return files;
}

/** One JSON object a line, in the form of TRL's conversational datasets; media lie beside, each once. */
export async function writeExamples(folder: string, examples: readonly Example[]): Promise<string> {
  const name = "examples.jsonl";
  await mkdir(join(folder, "media"), { recursive: true });
  const known = new Map<Media, string>();
  const fileOf = async (media: Media): Promise<string> => {
    const before = known.get(media);
    if (before !== undefined) return before;
    const bytes = await readMedia(media, "file");
    const file = `media/${sha256(bytes)}`;
    await writeFile(join(folder, file), bytes);
    known.set(media, file);
    return file;
  };
  const lines: string[] = [];
  for (const { id, turns, images, audios, label, options } of examples) {
    const files = { images: await inOrder(images, fileOf), audios: await inOrder(audios, fileOf) };
    lines.push(JSON.stringify({ id, messages: turns, ...files, label, options }));
  }
  await writeFile(join(folder, name), lines.map((line) => `${line}\n`).join(""));
  return name;
}

async function inOrder<T, R>(items: readonly T[], each: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await each(item));
  return results;
}

/** @throws FedloomError F2142 where the command left no adapter, F3008 where it is of another kind */
export function readOutputAdapter(folder: string, like?: Adapter): Adapter {
  const directory = join(folder, "output", "adapter");
  let found: Adapter;
  try {
    found = readPeft(directory);
  } catch (cause) {
    throw wrongOutput(`output/adapter is no PEFT directory (${messageOf(cause)})`, cause);
  }
  if (like === undefined) return found;
  assertSameKind(like.config, found.config, "the training command");
  for (const [name, { shape }] of like.tensors) {
    const got = found.tensors.get(name)?.shape;
    if (got?.join() !== shape.join()) {
      throw wrongOutput(
        `tensor "${name}" must have shape [${shape.join(", ")}], got ${got ? `[${got.join(", ")}]` : "none"}`,
      );
    }
  }
  const surplus = [...found.tensors.keys()].find((name) => !like.tensors.has(name));
  if (surplus !== undefined) throw wrongOutput(`the adapter that was handed out has no tensor "${surplus}"`);
  return { config: like.config, tensors: found.tensors };
}

export async function readOutputSet(folder: string, kind: string): Promise<TensorSet> {
  const path = join(folder, "output", `${kind}.safetensors`);
  return readSafetensors(await readOutput(path, `output/${kind}.safetensors`), path);
}

export async function readOutputJson<Schema extends z.ZodType>(
  folder: string,
  name: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  return parse((await readOutput(join(folder, "output", name), `output/${name}`)).toString(), name, schema);
}

export async function readOutputLines<Schema extends z.ZodType>(
  folder: string,
  name: string,
  schema: Schema,
): Promise<z.output<Schema>[]> {
  const text = (await readOutput(join(folder, "output", name), `output/${name}`)).toString();
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line, i) => parse(line, `${name}:${i + 1}`, schema));
}

async function readOutput(path: string, name: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw wrongOutput(`${name} cannot be read (${messageOf(cause)})`, cause);
  }
}

function parse<Schema extends z.ZodType>(text: string, name: string, schema: Schema): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw wrongOutput(`output/${name} is no JSON (${messageOf(cause)})`, cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw wrongOutput(`output/${name}: at "${path.join(".")}": ${message}`);
}

function wrongOutput(why: string, cause?: unknown): FedloomError {
  return new FedloomError("F2142", `Cannot use what the training command left: ${why}`, {}, { cause });
}
