/** etcd's answers, checked and turned into types: the border to the client library. */
import { isFields } from "../resource/fields.ts";
import type { Change, Entry } from "./store.ts";

const wrong = (what: string) => new Error(`etcd answered something unexpected: ${what} is missing`);

function integer(value: unknown, what: string): number {
  const number = typeof value === "string" || typeof value === "number" ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw wrong(what);
  return number;
}

function bytes(value: unknown, what: string): string {
  if (!Buffer.isBuffer(value)) throw wrong(what);
  return value.toString("utf8");
}

/** The store's revision when it answered. */
export function headerRevision(answer: Record<string, unknown>): number {
  if (!isFields(answer.header)) throw wrong("the header");
  return integer(answer.header.revision, "the revision");
}

export function kvsOf(answer: Record<string, unknown>): Record<string, unknown>[] {
  return Array.isArray(answer.kvs) ? answer.kvs.filter(isFields) : [];
}

/** `skip`: characters of the key that are not the caller's. */
export function entryFrom(kv: Record<string, unknown>, skip: number): Entry {
  return {
    key: bytes(kv.key, "a key").slice(skip),
    value: bytes(kv.value, "a value"),
    revision: integer(kv.mod_revision, "mod_revision"),
  };
}

/** An event of a watch with previous values; the key is etcd's whole one. */
export function changeFrom(event: unknown): Change {
  if (!isFields(event) || !isFields(event.kv)) throw wrong("the event's key");
  const { key, value, revision } = entryFrom(event.kv, 0);
  const previous = isFields(event.prev_kv) ? entryFrom(event.prev_kv, 0).value : undefined;
  if (event.type === "DELETE") return { type: "delete", key, value: previous ?? "", revision };
  return { type: "put", key, value, revision, ...(previous === undefined ? {} : { previous }) };
}
