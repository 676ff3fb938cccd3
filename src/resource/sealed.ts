/**
 * What only one reader can read, on its way through places where others look: X25519 with a key pair for this message alone, HKDF-SHA-256, AES-256-GCM.
 * The context is what it is for: with another one it does not open, so nobody who sees it can have it opened for something else.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";

export interface Opener {
  /** For `seal`, in base64. */
  publicKey: string;
  /** @returns undefined when it was sealed for another key or context, or is none */
  open: (sealed: string, context: string) => string | undefined;
}

const PUBLIC_BYTES = 32;
const TAG_BYTES = 16;
/** Each key is used once. */
const NONCE = Buffer.alloc(12);
/** What an X25519 key in DER begins with (RFC 8410). */
const SPKI = Buffer.from("302a300506032b656e032100", "hex");

const rawOf = (key: KeyObject) => key.export({ type: "spki", format: "der" }).subarray(SPKI.length);
const publicOf = (raw: Buffer) =>
  createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
const keyOf = (secret: Buffer, theirs: Buffer, reader: Buffer) =>
  Buffer.from(hkdfSync("sha256", secret, Buffer.concat([theirs, reader]), "vireo sealed", 32));

/** With a key that is in memory alone: what was sealed for one that is gone opens nowhere. */
export function newOpener(): Opener {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const own = rawOf(publicKey);
  return {
    publicKey: own.toString("base64"),
    open(sealed, context) {
      const bytes = Buffer.from(sealed, "base64");
      const theirs = bytes.subarray(0, PUBLIC_BYTES);
      try {
        const secret = diffieHellman({ privateKey, publicKey: publicOf(theirs) });
        const decipher = createDecipheriv("aes-256-gcm", keyOf(secret, theirs, own), NONCE);
        decipher.setAAD(Buffer.from(context));
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        const text = decipher.update(bytes.subarray(PUBLIC_BYTES, -TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString();
      } catch {
        return undefined;
      }
    },
  };
}

/** @param reader its public key, in base64. @returns base64. @throws Error when that is no key */
export function seal(reader: string, text: string, context: string): string {
  const theirs = Buffer.from(reader, "base64");
  if (theirs.length !== PUBLIC_BYTES) throw new Error("not a key for sealing");
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const own = rawOf(publicKey);
  const secret = diffieHellman({ privateKey, publicKey: publicOf(theirs) });
  const cipher = createCipheriv("aes-256-gcm", keyOf(secret, own, theirs), NONCE);
  cipher.setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([own, body, cipher.getAuthTag()]).toString("base64");
}
