/**
 * The two messages that carry payload, written with one copy of it or none. The general writer grows its buffer and copies
 * a chunk several times, and those copies are most of what a payload costs.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { FetchBlobResponse, PushBlobRequest } from "./gen/fedloom/v1/fleet_pb.ts";

const { LengthDelimited, Varint } = WireType;

/** What comes before the data in the bytes of a FetchBlobResponse, as the schema's own writer gives them. */
export function fetchBlobHead({ offset, data }: FetchBlobResponse): Uint8Array {
  const head = new BinaryWriter();
  if (offset !== 0n) head.tag(1, Varint).uint64(offset);
  if (data.length > 0) head.tag(2, LengthDelimited).uint32(data.length);
  return head.finish();
}

/** @returns the bytes that the schema's own writer gives; undefined for a header, which is small */
export function pushChunkBytes({ message }: PushBlobRequest): Buffer | undefined {
  if (message.case !== "chunk") return undefined;
  const { data } = message.value;
  const inner = new BinaryWriter();
  if (data.length > 0) inner.tag(1, LengthDelimited).uint32(data.length);
  const innerHead = inner.finish();
  const head = new BinaryWriter().tag(2, LengthDelimited).uint32(innerHead.length + data.length);
  const bytes = head.raw(innerHead).finish();
  const all = Buffer.allocUnsafe(bytes.length + data.length);
  all.set(bytes, 0);
  all.set(data, bytes.length);
  return all;
}
