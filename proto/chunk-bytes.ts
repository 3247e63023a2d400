/**
 * The two messages that carry payload, written with one copy of it. The general writer grows its buffer and copies
 * a chunk several times, and those copies are most of what a payload costs a coordinator that serves many clients.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { FetchBlobResponse, PushBlobRequest } from "./gen/fedloom/v1/fleet_pb.ts";

const { LengthDelimited, Varint } = WireType;

/**
 * A writer of FetchBlobResponse into one buffer that it uses again: grpc-js's server copies what it gets at once.
 * Fresh buffers of a MiB, a thousand a round, cost page faults and garbage collections.
 *
 * @returns the bytes that the schema's own writer gives, until the next call
 */
export function fetchBlobResponseWriter(): (message: FetchBlobResponse) => Buffer {
  let space = Buffer.alloc(0);
  return ({ offset, data }) => {
    const head = new BinaryWriter();
    if (offset !== 0n) head.tag(1, Varint).uint64(offset);
    if (data.length > 0) head.tag(2, LengthDelimited).uint32(data.length);
    const bytes = head.finish();
    const length = bytes.length + data.length;
    if (space.length < length) space = Buffer.allocUnsafeSlow(length);
    space.set(bytes, 0);
    space.set(data, bytes.length);
    return space.subarray(0, length);
  };
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
