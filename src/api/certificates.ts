/**
 * X.509 as Vireo needs it: one CA for an installation, certificates for servers, clients and hosts. EC P-256 throughout: small,
 * fast, understood by Go, OpenSSL and GnuTLS (QEMU). No state and no files here; pki.ts keeps what is made.
 */
import "reflect-metadata";
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { ApiError } from "../resource/errors.ts";
import { isDueForRenewal } from "../resource/lifetime.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY = 24 * 3600 * 1000;
/** Clocks of hosts differ: a certificate is valid from a little before it was made. */
const CLOCK_SKEW = 3600 * 1000;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** Both PEM. */
export interface Credentials {
  cert: string;
  key: string;
}

export interface Subject {
  commonName: string;
  organizations?: readonly string[];
  unit?: string;
}

export interface CertificateRequest {
  subject: Subject;
  /** DNS names and IP addresses. */
  names: readonly string[];
  usage: readonly ("client" | "server")[];
  days: number;
}

/** 126 random bits; positive and in DER's shortest form, because the first byte is between 0x40 and 0x7f. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

function nameOf(subject: Subject): x509.JsonName {
  return [
    { CN: [subject.commonName] },
    ...(subject.organizations?.length ? [{ O: [...subject.organizations] }] : []),
    ...(subject.unit === undefined ? [] : [{ OU: [subject.unit] }]),
  ];
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

async function privateKeyFrom(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  if (!der) throw new Error("no private key in the PEM text");
  return webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}

const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** A new self-signed CA. `name` tells installations apart for people who look at certificates. */
export async function createCa(name: string, days = 3650): Promise<Credentials> {
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: nameOf({ commonName: name, organizations: ["Vireo"] }),
    notBefore: new Date(Date.now() - CLOCK_SKEW),
    notAfter: new Date(Date.now() + days * DAY),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: cert.toString("pem"), key: await pemOfKey(keys.privateKey) };
}

async function sign(
  ca: Credentials,
  publicKey: x509.PublicKeyType,
  request: CertificateRequest,
): Promise<string> {
  const issuer = new x509.X509Certificate(ca.cert);
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: nameOf(request.subject),
    issuer: issuer.subjectName,
    notBefore: new Date(Date.now() - CLOCK_SKEW),
    notAfter: new Date(Math.min(Date.now() + request.days * DAY, issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    signingKey: await privateKeyFrom(ca.key),
    publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      // QEMU refuses certificates without keyEncipherment when the extension is critical, whatever the key's type.
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension(
        request.usage.map((usage) => (usage === "client" ? CLIENT_AUTH : SERVER_AUTH)),
      ),
      ...(request.names.length
        ? [
            new x509.SubjectAlternativeNameExtension(
              request.names.map((name) => ({
                type: isIP(name) ? ("ip" as const) : ("dns" as const),
                value: name,
              })),
            ),
          ]
        : []),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return cert.toString("pem");
}

/** A new key and its certificate. */
export async function issue(ca: Credentials, request: CertificateRequest): Promise<Credentials> {
  const keys = await newKeys();
  return { cert: await sign(ca, keys.publicKey, request), key: await pemOfKey(keys.privateKey) };
}

/** A key and a request for a certificate: what a host makes, so that its key never leaves it. */
export async function createSigningRequest(commonName: string): Promise<{ csr: string; key: string }> {
  const keys = await newKeys();
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: nameOf({ commonName }),
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { csr: csr.toString("pem"), key: await pemOfKey(keys.privateKey) };
}

/**
 * Signs the key of a request. Of the request only the key is used: subject, names and usages are the caller's decision.
 * @throws ApiError BadRequest when it is not a request, its signature is wrong, or its key is too weak
 */
export async function signRequest(
  ca: Credentials,
  csr: string,
  request: CertificateRequest,
): Promise<string> {
  let parsed: x509.Pkcs10CertificateRequest;
  let proven: boolean;
  try {
    parsed = new x509.Pkcs10CertificateRequest(csr);
    proven = await parsed.verify();
  } catch (cause) {
    throw new ApiError("BadRequest", "csr: not a PKCS#10 certificate request in PEM form", {}, { cause });
  }
  if (!proven) throw new ApiError("BadRequest", "csr: the request is not signed by the key it names");
  const algorithm: object = parsed.publicKey.algorithm;
  const curve = "namedCurve" in algorithm ? algorithm.namedCurve : undefined;
  const bits = "modulusLength" in algorithm ? Number(algorithm.modulusLength) : 0;
  if (!["P-256", "P-384"].includes(String(curve)) && (bits < 2048 || bits > 8192))
    throw new ApiError("BadRequest", "csr: the key must be EC P-256, EC P-384 or RSA of 2048 to 8192 bits");
  return sign(ca, parsed.publicKey, request);
}

/** Whether a pair still serves: it belongs together, has all these names, is of this CA, and is not due for renewal. */
export function isCurrent({ cert, key }: Credentials, caCert: string, names: readonly string[]): boolean {
  const parsed = new x509.X509Certificate(cert);
  const issuer = new x509.X509Certificate(caCert);
  const own = parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  const has = new Set(own.map((name) => name.value));
  const keyOf = (certificate: x509.X509Certificate, which: "issuer" | "subject") =>
    which === "issuer"
      ? certificate.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId
      : certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return (
    keyOf(parsed, "issuer") === keyOf(issuer, "subject") &&
    !isDueForRenewal({ from: parsed.notBefore, to: parsed.notAfter }) &&
    names.every((name) => has.has(name)) &&
    // Two control planes that renew at once may leave the key of one and the certificate of the other.
    new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  );
}
