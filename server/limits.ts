/**
 * Every bound on what a peer may make the coordinator hold or do, with the reason for its size. Beside them stand those of the
 * transport, which clients share (proto/channel.ts: messages, streams, strangers' connections; proto/windows.ts), and
 * those of the file format (adapters/safetensors.ts).
 */

/** Silence after which a connection is given up is three of these; short enough to see a lost client within a minute. */
export const HEARTBEAT_MS = 10_000;

/** Time to say Hello. A peer that opens connections and says nothing costs one timer each. */
export const HELLO_MS = 10_000;

/** Messages of peers without a certificate that are being read: with two MiB each, no more than 64 MiB of them are held. */
export const MAX_STRANGERS_MESSAGES = 32;
/** Time for such a message, a key and a secret, to come whole. */
export const STRANGERS_MESSAGE_MS = 10_000;

/** An upload may be so many times the adapter that was handed out: room for other ranks and types, none for a flood. */
export const UPLOAD_FACTOR = 4;
/** Headers and small adapters, beside the factor. */
export const UPLOAD_SLACK_BYTES = 2 ** 20;
/**
 * All uploads of one task together, as a multiple of the largest one. An update and the sets beside it are a few adapters; a client
 * that died and trained again to other bits sends them again. Unbounded, whole blobs that nobody refers to fill the disk.
 */
export const UPLOADS_FACTOR = 2;
/** Different blobs that one task may upload: a configuration, an update, a few sets, and again after a few deaths. */
export const MAX_UPLOADS = 32;

/**
 * Certificates that one site gets in a day: an honest one needs one in two months, and a few more where processes die. Each
 * costs a signature and an entry of the audit trail.
 */
export const MAX_CERTIFICATES_A_DAY = 16;

/** A PEFT configuration with patterns for every module of a large model stays below. */
export const MAX_CONFIG_BYTES = 2 ** 20;

/** Longest text of a client that is journaled and shown. */
export const MAX_MESSAGE_CHARACTERS = 2_000;

/** Metrics, counts and sets that one message may name. */
export const MAX_ENTRIES = 64;

/** Messages that wait for a client that does not read; one that reads never has more than a few. */
export const MAX_WAITING_MESSAGES = 256;

/** Largest body that the HTTP interface reads; a run's configuration is a few kilobytes. */
export const MAX_BODY_BYTES = 2 ** 20;
