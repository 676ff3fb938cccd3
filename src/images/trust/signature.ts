/**
 * Signatures of images: Ed25519 over the provenance statement, which has the sha256 of each file, in a DSSE envelope (https://github.com/secure-systems-lab/dsse) as in-toto's
 * tools read it. The key is the installation's. Pure.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { Type } from "typebox";
import { Value } from "typebox/value";

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

const Envelope = Type.Object({
  payloadType: Type.String(),
  payload: Type.String(),
  signatures: Type.Array(Type.Object({ keyid: Type.Optional(Type.String()), sig: Type.String() })),
});

const Statement = Type.Object({
  subject: Type.Array(Type.Object({ name: Type.String(), digest: Type.Object({ sha256: Type.String() }) })),
});

export class SignatureError extends Error {}

/** What a DER of PKCS #8 begins with, before the 32 bytes of an Ed25519 key (RFC 8410). */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

export interface Signer {
  /** sha256 of the public key, in hexadecimal. */
  keyId: string;
  /** PEM. */
  publicKey: string;
  /** @returns the envelope of a statement, one line of JSON */
  envelope: (statement: string) => string;
}

/** sha256 of the public key's DER, in hexadecimal. */
const keyIdOf = (key: KeyObject) =>
  createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");

/** @param seed 32 secret bytes: the same ones make the same key */
export function signerOf(seed: Buffer): Signer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key);
  const keyId = keyIdOf(publicKey);
  return {
    keyId,
    publicKey: publicKey.export({ type: "spki", format: "pem" }).toString(),
    envelope: (statement) => {
      const body = Buffer.from(statement);
      const signature = sign(null, authenticated(PAYLOAD_TYPE, body), key);
      const signatures = [{ keyid: keyId, sig: signature.toString("base64") }];
      return `${JSON.stringify({ payloadType: PAYLOAD_TYPE, payload: body.toString("base64"), signatures })}\n`;
    },
  };
}

/** What is signed: DSSE's pre-authentication encoding. */
function authenticated(type: string, body: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.length} `;
  return Buffer.concat([Buffer.from(head), body]);
}

/**
 * @param text of the envelope
 * @param publicKey PEM
 * @returns the files that the signature is for: name -> sha256. @throws SignatureError when it is not the key's
 */
export function checkedFiles(text: string, publicKey: string): Map<string, string> {
  const envelope = parsed(Envelope, text, "is no DSSE envelope");
  if (envelope.payloadType !== PAYLOAD_TYPE)
    throw new SignatureError(`is of ${JSON.stringify(envelope.payloadType)}, not of ${PAYLOAD_TYPE}`);
  let key: KeyObject;
  try {
    key = createPublicKey(publicKey);
  } catch (cause) {
    throw new SignatureError("cannot be checked: the key is no public key (PEM)", { cause });
  }
  const body = Buffer.from(envelope.payload, "base64");
  const signed = authenticated(envelope.payloadType, body);
  const isRight = ({ sig }: { sig: string }) =>
    key.asymmetricKeyType === "ed25519" && verify(null, signed, key, Buffer.from(sig, "base64"));
  if (!envelope.signatures.some(isRight)) {
    const by = envelope.signatures.map(({ keyid }) => keyid ?? "an unnamed key").join(", ");
    throw new SignatureError(`is not one of the key ${keyIdOf(key)}; it says that it is of ${by || "none"}`);
  }
  const { subject } = parsed(Statement, body.toString("utf8"), "is of no in-toto statement");
  return new Map(subject.map(({ name, digest }) => [name, digest.sha256]));
}

function parsed<T extends typeof Envelope | typeof Statement>(
  schema: T,
  text: string,
  wrong: string,
): Type.Static<T> {
  try {
    return Value.Parse(schema, JSON.parse(text));
  } catch (cause) {
    throw new SignatureError(wrong, { cause });
  }
}
