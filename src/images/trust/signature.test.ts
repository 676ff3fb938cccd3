/** Signatures of images, also by the eyes of OpenSSL's own checks in node:crypto. */
import { generateKeyPairSync, verify } from "node:crypto";
import { expect, it } from "vitest";
import { checkedFiles, signerOf } from "./signature.ts";

const statement = JSON.stringify({
  _type: "https://in-toto.io/Statement/v1",
  subject: [{ name: "web.qcow2", digest: { sha256: "a".repeat(64) } }],
});
const signer = signerOf(Buffer.alloc(32, 7));
const envelope = signer.envelope(statement);

it("are the same for the same key and statement, and say what they are for", () => {
  expect(signerOf(Buffer.alloc(32, 7)).envelope(statement)).toBe(envelope);
  expect([...checkedFiles(envelope, signer.publicKey)]).toEqual([["web.qcow2", "a".repeat(64)]]);
});

it("are of what DSSE has signed", () => {
  const { payload, payloadType, signatures } = JSON.parse(envelope);
  const body = Buffer.from(payload, "base64");
  expect(body.toString()).toBe(statement);
  const signed = Buffer.from(`DSSEv1 28 ${payloadType} ${body.length} ${body}`);
  expect(payloadType).toHaveLength(28);
  expect(signatures).toMatchObject([{ keyid: signer.keyId }]);
  expect(verify(null, signed, signer.publicKey, Buffer.from(signatures[0].sig, "base64"))).toBe(true);
});

it("of another key, of a changed statement or type, and what is none are refused", () => {
  const other = signerOf(Buffer.alloc(32, 8));
  expect(() => checkedFiles(envelope, other.publicKey)).toThrow(
    `is not one of the key ${other.keyId}; it says that it is of ${signer.keyId}`,
  );
  const change = (field: string, value: unknown) =>
    JSON.stringify({ ...JSON.parse(envelope), [field]: value });
  const forged = Buffer.from(statement.replace("aaaa", "bbbb")).toString("base64");
  expect(() => checkedFiles(change("payload", forged), signer.publicKey)).toThrow("is not one of the key");
  expect(() => checkedFiles(change("payloadType", "text/plain"), signer.publicKey)).toThrow(
    'is of "text/plain"',
  );
  expect(() => checkedFiles(change("signatures", []), signer.publicKey)).toThrow(
    "it says that it is of none",
  );
  expect(() => checkedFiles("{", signer.publicKey)).toThrow("is no DSSE envelope");
  expect(() => checkedFiles(envelope, "no key")).toThrow("the key is no public key");
  expect(() => checkedFiles(signer.envelope("[]"), signer.publicKey)).toThrow("is of no in-toto statement");
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
  const pem = rsa.export({ type: "spki", format: "pem" }).toString();
  expect(() => checkedFiles(envelope, pem)).toThrow("is not one of the key");
});
