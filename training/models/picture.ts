/** Bytes of an image file to 8-bit RGB samples. */
import sharp from "sharp";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Media } from "../../data/example.ts";
import type { Picture } from "./resample.ts";

/** Largest picture that is decoded: 100 megapixels, 300 MB of samples. Unbounded, a small hostile file exhausts memory. */
const MAX_PIXELS = 100_000_000;

/**
 * Samples as Pillow's convert("RGB") gives them: no turning by EXIF, no color profile applied.
 *
 * @param transparency what becomes of an alpha channel: dropped, or laid over white
 * @throws FedloomError F2131 where the bytes are no picture
 */
export async function decodePicture(
  bytes: Uint8Array,
  name: string,
  transparency: "drop" | "white",
): Promise<Picture> {
  try {
    const image = sharp(bytes, { ignoreIcc: true, limitInputPixels: MAX_PIXELS, failOn: "error" });
    const opaque = transparency === "white" ? image.flatten({ background: "white" }) : image.removeAlpha();
    const { data, info } = await opaque
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (cause) {
    throw new FedloomError(
      "F2131",
      `Cannot read image "${name}": a picture is wanted, got ${bytes.length} bytes that do not decode (${messageOf(cause)})`,
      { image: name, bytes: bytes.length },
      { cause },
    );
  }
}

/** @param noun what the message calls it, "image" or "sound" @throws FedloomError F2131 where the file cannot be read */
export async function readMedia(media: Media, noun: string): Promise<Uint8Array> {
  try {
    return await media.read();
  } catch (cause) {
    throw new FedloomError(
      "F2131",
      `Cannot read ${noun} "${media.name}": ${messageOf(cause)}`,
      { [noun]: media.name },
      { cause },
    );
  }
}
