/**
 * A store in which the values under some prefixes are encrypted before they are written, and only there: AES-256-GCM, a fresh nonce for each
 * write, the key (the entry's name) bound in, so that no sealed value can be put in another's place. Who reads the file, the disk or a
 * backup of the store without the keys learns names, sizes and times, no contents.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { overlay } from "./overlay.ts";
import type { Change, Entry, Store } from "./store.ts";

/** The keys by their ids; new values are sealed with `current`. */
export interface SealingKeys {
  current: string;
  keys: Readonly<Record<string, Buffer>>;
}

const CIPHER = "aes-256-gcm";
const FORM = /^sealed:([\w-]+):([\w-]+):([\w-]+):([\w-]+)$/;

/** @throws Error when the current key is missing */
export function seal({ current, keys }: SealingKeys, key: string, value: string): string {
  const secret = keys[current];
  if (!secret) throw new Error(`there is no sealing key ${current}`);
  const nonce = randomBytes(12);
  const cipher = createCipheriv(CIPHER, secret, nonce).setAAD(Buffer.from(key));
  const sealed = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
  const parts = [nonce, cipher.getAuthTag(), sealed].map((part) => part.toString("base64url"));
  return `sealed:${current}:${parts.join(":")}`;
}

/** @returns undefined when the key is not there, or the value is not as it was written */
export function unseal({ keys }: SealingKeys, key: string, value: string): string | undefined {
  const [, id = "", nonce = "", tag = "", sealed = ""] = FORM.exec(value) ?? [];
  const secret = Object.hasOwn(keys, id) ? keys[id] : undefined;
  if (!secret) return undefined;
  const bytes = (text: string) => Buffer.from(text, "base64url");
  try {
    const decipher = createDecipheriv(CIPHER, secret, bytes(nonce), { authTagLength: 16 });
    decipher.setAAD(Buffer.from(key)).setAuthTag(bytes(tag));
    return Buffer.concat([decipher.update(bytes(sealed)), decipher.final()]).toString("utf8");
  } catch {
    return undefined;
  }
}

/**
 * The store, with everything under `prefixes` sealed in `inner`. A value that cannot be unsealed is left out of what is read, and told to
 * `onUnreadable`; it stays where it is, and is there again when its key is.
 */
export function sealedStore(
  inner: Store,
  prefixes: readonly string[],
  keys: SealingKeys,
  onUnreadable: (key: string) => void,
): Store {
  const isSealed = (key: string) => prefixes.some((prefix) => key.startsWith(prefix));
  const open = (key: string, value: string): string | undefined => {
    if (!isSealed(key)) return value;
    const opened = unseal(keys, key, value);
    if (opened === undefined) onUnreadable(key);
    return opened;
  };
  const openEntry = (entry: Entry): Entry | undefined => {
    const value = open(entry.key, entry.value);
    return value === undefined ? undefined : { ...entry, value };
  };
  const openChange = (sealed: Change): Change | undefined => {
    if (!isSealed(sealed.key)) return sealed;
    const { previous, ...change } = sealed;
    const value = open(change.key, change.value);
    if (value === undefined) return undefined;
    const before = previous === undefined ? undefined : open(change.key, previous);
    return { ...change, value, ...(before === undefined ? {} : { previous: before }) };
  };
  return overlay(inner, {
    async get(key) {
      const entry = await inner.get(key);
      return entry && openEntry(entry);
    },
    async range(prefix) {
      const { entries, revision } = await inner.range(prefix);
      return { entries: entries.flatMap((entry) => openEntry(entry) ?? []), revision };
    },
    async commit(write) {
      const { key, value } = write;
      if (!isSealed(key)) return inner.commit(write);
      const entry = await inner.commit(
        value === undefined ? write : { ...write, value: seal(keys, key, value) },
      );
      return value === undefined ? (openEntry(entry) ?? { ...entry, value: "" }) : { ...entry, value };
    },
    watch: (prefix, after, onChange) =>
      inner.watch(prefix, after, (change) => {
        const opened = openChange(change);
        if (opened) onChange(opened);
      }),
  });
}
