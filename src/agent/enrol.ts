/**
 * How this host gets its certificate: a key of its own, a request, and the bootstrap token of the enrolment file; and how it keeps one:
 * renewed by the present certificate, from two thirds of its life on.
 */

import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isFields } from "../resource/fields.ts";
import "reflect-metadata";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import { HttpClient } from "../client/http.ts";

import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import { isDueForRenewal } from "../resource/lifetime.ts";

export interface HostCredentials {
  ca: string;
  cert: string;
  key: string;
  /** Laid out as QEMU's tls-creds-x509 wants it. */
  tlsDirectory: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

const pem = (label: string, der: ArrayBuffer) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replace(/(.{64})/g, "$1\n")
    .trimEnd()}\n-----END ${label}-----\n`;

const BRING = "make one with `vireo enrol FILE` on the control plane's machine, and bring it here";

/** The file that `vireo up` or an administrator brings to the host. @throws Error */
function readEnrolment(path: string): { ca: string; token: string } {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(`--enrolment ${path}: it cannot be read (${why}); ${BRING}`, { cause });
  }
  const field = (name: string) => (isFields(value) ? value[name] : undefined);
  const [ca, token] = [field("ca"), field("token")];
  if (typeof ca !== "string" || typeof token !== "string")
    throw new Error(`--enrolment ${path}: not an enrolment file, which has "ca" and "token"; ${BRING}`);
  return { ca, token };
}

export interface EnrolOptions {
  /** Addresses of the control planes. */
  url: readonly string[];
  name: string;
  /** Where other hosts reach this one; stands in the certificate. */
  address: string;
  enrolmentFile: string;
  stateFolder: string;
  log: Logger;
}

/**
 * The kept credentials; enrols when there are none, renews them when they are due or do not name the address. A certificate that cannot
 * be renewed now is used as long as it is valid.
 * @throws Error that says what to bring
 */
export async function enrol(options: EnrolOptions): Promise<HostCredentials> {
  const { name, address, enrolmentFile, stateFolder, log } = options;
  const tlsDirectory = join(stateFolder, "tls");
  if (!existsSync(join(tlsDirectory, "client-cert.pem"))) {
    const { ca, token } = readEnrolment(enrolmentFile);
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const key = pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", keys.privateKey));
    const cert = await askForCertificate(options, { ca, key, token });
    // The agent's alone: a QEMU process is lent a copy for the time of a migration (qemu-record.ts, lendCredentials).
    mkdirSync(tlsDirectory, { recursive: true, mode: 0o700 });
    write(tlsDirectory, "ca-cert.pem", ca);
    for (const role of ["server", "client"]) write(tlsDirectory, `${role}-key.pem`, key);
    writeCertificate(tlsDirectory, cert);
    return { ca, key, cert, tlsDirectory };
  }
  const kept = readCredentials(tlsDirectory);
  if (!isDue(kept.cert, address)) return kept;
  try {
    return await renew(options, kept);
  } catch (error) {
    const { validToDate } = new X509Certificate(kept.cert);
    if (validToDate.getTime() > Date.now()) {
      log.warn("agent.certificate", { host: name, expires: validToDate.toISOString(), error });
      return kept;
    }
    throw new Error(
      `the certificate in ${tlsDirectory} ran out ${validToDate.toISOString()} and was not renewed by ${enrolmentFile}; ` +
        `${BRING}: ${error instanceof Error ? error.message : error}`,
      { cause: error },
    );
  }
}

/** Looks each hour whether the certificate is due, and hands the new one to `onRenewed`. Runs until the signal aborts. */
export async function keepCertificate(
  options: EnrolOptions & {
    onRenewed: (credentials: HostCredentials) => void;
    clock: Clock;
    signal: AbortSignal;
    checkMs?: number;
  },
): Promise<void> {
  const { name, address, log, clock, signal, onRenewed } = options;
  while (!signal.aborted) {
    await clock.sleep(options.checkMs ?? 3600_000, signal);
    if (signal.aborted) return;
    try {
      const kept = readCredentials(join(options.stateFolder, "tls"));
      if (!isDue(kept.cert, address)) continue;
      onRenewed(await renew(options, kept));
      log.info("agent.certificate.renewed", { host: name });
    } catch (error) {
      log.warn("agent.certificate", { host: name, error });
    }
  }
}

function isDue(cert: string, address: string): boolean {
  const certificate = new X509Certificate(cert);
  const { validFromDate: from, validToDate: to } = certificate;
  return isDueForRenewal({ from, to }) || certificate.checkIP(address) === undefined;
}

/** The key stays, so that key and certificate fit at every moment; the CA stays, too. */
async function renew(options: EnrolOptions, kept: HostCredentials): Promise<HostCredentials> {
  const { ca, key, tlsDirectory } = kept;
  const isValid = new X509Certificate(kept.cert).validToDate.getTime() > Date.now();
  const cert = isValid
    ? await askForCertificate(options, { ca, key, cert: kept.cert })
    : await askForCertificate(options, { ca, key, token: readEnrolment(options.enrolmentFile).token });
  writeCertificate(tlsDirectory, cert);
  return { ...kept, cert };
}

/** Shows the token, or else the present certificate. */
async function askForCertificate(
  { url, name, address }: EnrolOptions,
  { ca, key, token, cert }: { ca: string; key: string; token?: string; cert?: string },
): Promise<string> {
  const privateKey = createPrivateKey(key);
  const keys = {
    privateKey: await crypto.subtle.importKey(
      "pkcs8",
      privateKey.export({ type: "pkcs8", format: "der" }),
      ALGORITHM,
      false,
      ["sign"],
    ),
    publicKey: await crypto.subtle.importKey(
      "spki",
      createPublicKey(privateKey).export({ type: "spki", format: "der" }),
      ALGORITHM,
      true,
      ["verify"],
    ),
  };
  const csr = await Pkcs10CertificateRequestGenerator.create({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
  });
  const client = new HttpClient({ url, ca, ...(cert === undefined ? {} : { cert, key }) });
  try {
    const answer = await client.raw("POST", "/enroll", {
      ...(token === undefined ? {} : { token }),
      name,
      csr: csr.toString("pem"),
      addresses: [address],
    });
    const certificate = isFields(answer) ? answer.certificate : undefined;
    if (typeof certificate !== "string")
      throw new Error(`${url.join(", ")} did not answer with a certificate`);
    return certificate;
  } finally {
    client.close();
  }
}

/** Whole or not at all: a migration may read it at this moment. */
function write(directory: string, file: string, text: string): void {
  const path = join(directory, file);
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

/** Between hosts each is server and client, with one certificate. The client's is written last: it says that all is there. */
function writeCertificate(directory: string, cert: string): void {
  for (const role of ["server", "client"]) write(directory, `${role}-cert.pem`, cert);
}

function readCredentials(tlsDirectory: string): HostCredentials {
  const read = (file: string) => readFileSync(join(tlsDirectory, file), "utf8");
  return {
    ca: read("ca-cert.pem"),
    cert: read("client-cert.pem"),
    key: read("client-key.pem"),
    tlsDirectory,
  };
}
