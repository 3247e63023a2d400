/** Clients of a fleet that holds drawn pictures and questions of the kind that the embedded model knows. */
import sharp from "sharp";
import { createRng } from "../../base/rng.ts";
import type { Example, Media } from "../../data/example.ts";
import { drawScene, PICTURE_SIDE, paint } from "../../data/scenes/scene.ts";
import { clientName, type FleetClient } from "../../scenarios/fleet/shards.ts";

/** Different pictures in all; clients share them, as the clients of a partition share a dataset's. */
const PICTURES = 64;
const EXAMPLES = 4;

/** Each with four examples. */
export async function drawnClients(count: number): Promise<FleetClient[]> {
  const rng = createRng("bench fleet");
  const drawn: { readonly media: Media; readonly thing: string; readonly color: string }[] = [];
  for (let i = 0; i < PICTURES; i++) {
    const own = rng.fork(i);
    const scene = drawScene(own, 1);
    const { thing, color } = scene.cells.find((cell) => cell !== undefined)!; // it holds one thing
    const raw = { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 3 } as const;
    const bytes = await sharp(paint(scene, own), { raw }).png().toBuffer();
    drawn.push({ media: { name: `${i}.png`, read: async () => bytes }, thing, color });
  }
  return Array.from({ length: count }, (_, client) => {
    const train = Array.from({ length: EXAMPLES }, (_, i): Example => {
      const { media, thing, color } = drawn[(client * EXAMPLES + i) % PICTURES]!;
      const content = i % 2 === 0 ? `<image>What color is the ${thing}?` : "<image>What is in the picture?";
      return {
        id: `${client}-${i}`,
        turns: [
          { role: "user", content },
          { role: "assistant", content: i % 2 === 0 ? color : thing },
        ],
        images: [media],
        audios: [],
      };
    });
    return { id: clientName(client, count), shard: { train, heldOut: [] } };
  });
}
