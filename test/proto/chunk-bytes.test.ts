import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fetchBlobHead, pushChunkBytes } from "../../proto/chunk-bytes.ts";
import { FetchBlobResponseSchema, PushBlobRequestSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";

test("payload messages have the bytes of the general writer", () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.uint8Array({ maxLength: 20_000 }),
      (offset, data) => {
        const answer = create(FetchBlobResponseSchema, { offset, data });
        expect(
          Buffer.compare(
            Buffer.concat([fetchBlobHead(answer), data]),
            toBinary(FetchBlobResponseSchema, answer),
          ),
        ).toBe(0);
        const chunk = create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } });
        expect(Buffer.compare(pushChunkBytes(chunk)!, toBinary(PushBlobRequestSchema, chunk))).toBe(0);
      },
    ),
  );
  expect(
    pushChunkBytes(create(PushBlobRequestSchema, { message: { case: "header", value: {} } })),
  ).toBeUndefined();
});
