/**
 * Folders of parquet as the Hugging Face hub keeps datasets: <split>-00000-of-0000N.parquet, at the top or in data/.
 * An image or audio column is a struct {bytes, path} or a list of such; its bytes are read when a trainer wants them.
 *
 * A row is a conversation (conversation.ts) or a picture with `text` or `label`. Every codec that parquet
 * writers use is read: snappy, gzip, zstd, brotli, lz4, or none.
 *
 * Source: https://huggingface.co/docs/hub/datasets-image#parquet-format
 */
import { basename, dirname, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { splitOfName } from "../dataset.ts";
import { Collector } from "./collector.ts";
import { exampleOfRow, looksLikeConversation } from "./conversation.ts";
import { type DatasetFormat, filesEnding, type Place, placeAt } from "./format.ts";
import { openParquet } from "./parquet-file.ts";
import { exampleOfPicture } from "./picture-row.ts";

function filesOf(place: Place): string[] {
  const top = filesEnding(place, ".parquet");
  const below = place.isFile ? undefined : placeAt(join(place.path, "data"));
  return top.length > 0 || below === undefined || below.isFile ? top : filesEnding(below, ".parquet");
}

export const parquet: DatasetFormat = {
  name: "parquet",
  expects: "<split>-00000-of-0000N.parquet, at the top or in data/",
  recognizes: (place) => filesOf(place).length > 0,
  async read(place, options) {
    const collector = new Collector(options);
    for (const file of filesOf(place)) {
      const name = basename(file, ".parquet");
      try {
        const opened = await openParquet(file);
        let index = 0;
        for await (const row of opened.rows()) {
          const at = { file, line: index + 1 };
          const setting = { id: `${name}:${index++}`, folder: dirname(file) };
          const example = looksLikeConversation(row)
            ? exampleOfRow(row, at, setting, collector)
            : exampleOfPicture(row, at, setting, collector, opened.classes);
          if (example !== undefined) collector.add(splitOfName(name) ?? "train", at, example);
        }
      } catch (error) {
        options.problems.add(file, undefined, messageOf(error));
      }
    }
    return collector.splits;
  },
};
