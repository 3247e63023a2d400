/** Writes stand-in datasets to disk: the files of the published format, the pictures, and a card that says what they are. */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { FedloomError } from "../../base/errors.ts";
import { createRng } from "../../base/rng.ts";
import { PICTURE_SIDE, paint } from "../scenes/scene.ts";
import { STANDINS } from "./index.ts";
import type { Profile, Standin } from "./standin.ts";

export interface MadeStandin {
  readonly name: string;
  readonly format: string;
  readonly folder: string;
  readonly train: number;
  readonly test: number;
  readonly pictures: number;
  /** Over the text files and the pixels of the pictures: equal for equal profile and seed, on any machine. */
  readonly sha256: string;
}

/** @throws FedloomError F2001 naming the known ones */
export function standinNamed(name: string): Standin {
  const found = STANDINS.find((standin) => standin.name === name);
  if (found !== undefined) return found;
  const known = STANDINS.map((standin) => standin.name);
  throw new FedloomError("F2001", `Cannot make dataset "${name}": known are ${known.join(", ")}`, {
    name,
    known,
  });
}

/** @param out folder that the dataset's own folder is made in */
export async function makeStandin(
  standin: Standin,
  out: string,
  { profile, seed }: { readonly profile: Profile; readonly seed: number },
): Promise<MadeStandin> {
  const size = standin.sizes[profile];
  const rng = createRng(seed).fork("standin", standin.name);
  const { pictures, texts } = standin.draw(size, rng);
  const folder = join(out, standin.folder);
  const hash = createHash("sha256");
  for (const [path, text] of Object.entries(texts).sort(([a], [b]) => (a < b ? -1 : 1))) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    hash.update(path).update(text);
  }
  for (const { path, picture } of pictures) {
    const pixels = paint(picture, rng.fork("paint", path));
    hash.update(path).update(pixels);
    await mkdir(dirname(join(folder, path)), { recursive: true });
    const raw = { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 3 } as const;
    await writeFile(join(folder, path), await sharp(pixels, { raw }).png().toBuffer());
  }
  const made: MadeStandin = {
    name: standin.name,
    format: standin.format,
    folder: standin.folder,
    ...size,
    pictures: pictures.length,
    sha256: hash.digest("hex"),
  };
  await writeFile(join(folder, `CARD-${standin.name}.md`), card(standin, made, profile, seed));
  return made;
}

function card({ about }: Standin, made: MadeStandin, profile: Profile, seed: number): string {
  return `# ${made.name}: a drawn stand-in

${about}

**It is not the dataset whose format it has.** Every picture and sentence was drawn by a program; no number measured on it
says anything about the original, only about how methods compare on a task of that shape.

| | |
|---|---|
| format | ${made.format} |
| training rows | ${made.train} |
| test rows | ${made.test} |
| pictures | ${made.pictures}, 32 x 32 pixels |
| profile, seed | ${profile}, ${seed} |
| SHA-256 of texts and pixels | ${made.sha256} |

Made again, byte for byte: \`fedloom data make ${made.name} --profile ${profile} --seed ${seed} --out DIR\`
`;
}
