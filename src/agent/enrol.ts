/**
 * How this host gets its certificate: a key of its own, a request, and the bootstrap token of the enrolment file; and how it keeps one:
 * renewed by the present certificate, from two thirds of its life on. By that certificate it gets another one, for another key: that of the streams between
 * hosts, which QEMU processes are lent, and by which nobody logs in.
 *
 *   tls/              the agent's alone: ca-cert.pem, client-key.pem, client-cert.pem
 *   tls/migrations/   laid out as QEMU's tls-creds-x509 wants it
 */

import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isFields } from "../resource/fields.ts";
import "reflect-metadata";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import { HttpClient } from "../client/http.ts";

import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import { type ApiError, isApiError } from "../resource/errors.ts";
import { MIGRATIONS } from "../resource/host-name.ts";
import { isDueForRenewal } from "../resource/lifetime.ts";
import { writeDurably } from "../system/durable.ts";

export interface HostCredentials {
  ca: string;
  cert: string;
  key: string;
  /** What QEMU processes are lent a copy of (qemu-record.ts, lendCredentials). Not there while no control plane has given it. */
  migrationsDirectory: string;
}

const HOUR_MS = 3600_000;
const MINUTE_MS = 60_000;
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
 * The kept credentials; enrols when there are none or the host was taken out since, renews them when they are due or do not name the address. A certificate that cannot
 * be renewed now is used as long as it is valid; without one for migrations machines run, and do not move.
 * @throws Error that says what to bring
 */
export async function enrol(options: EnrolOptions): Promise<HostCredentials> {
  const credentials = await ownCredentials(options);
  await ensureMigrations(options, credentials).catch((error: unknown) =>
    options.log.warn("agent.certificate.migrations", { host: options.name, error }),
  );
  return credentials;
}

async function ownCredentials(options: EnrolOptions): Promise<HostCredentials> {
  const { name, address, enrolmentFile, log } = options;
  const directory = directoryOf(options);
  if (!isComplete(directory)) return enrolByToken(options);
  const kept = readCredentials(directory);
  const refusal = await refusalOf(options, kept);
  if (refusal) {
    log.warn("agent.certificate.refused", { host: name, error: refusal });
    return enrolByToken(options).catch((error: unknown) => {
      throw new Error(
        `the control plane refuses the certificate in ${directory} (${refusal.message}), and ${enrolmentFile} gave no other: ${error instanceof Error ? error.message : error}`,
        { cause: error },
      );
    });
  }
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
      `the certificate in ${directory} ran out ${validToDate.toISOString()} and was not renewed by ${enrolmentFile}; ` +
        `${BRING}: ${error instanceof Error ? error.message : error}`,
      { cause: error },
    );
  }
}

/** Into an empty folder, or in the place of a certificate that is refused. */
async function enrolByToken(options: EnrolOptions): Promise<HostCredentials> {
  const directory = directoryOf(options);
  const { ca, token } = readEnrolment(options.enrolmentFile);
  const key = await newKey();
  const cert = await askForCertificate(options, { ca, key, token });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // It would not fit the new key: until the last file is written there are no credentials.
  rmSync(join(directory, "client-cert.pem"), { force: true });
  await write(directory, "ca-cert.pem", ca);
  await write(directory, "client-key.pem", key);
  await write(directory, "client-cert.pem", cert);
  return readCredentials(directory);
}

/**
 * That the control plane does not let this host in by its certificate because it was taken out. Undefined also when it does not answer, and for other refusals (its clock
 * is wrong): those may pass, and machines are looked after meanwhile.
 */
async function refusalOf(
  { url }: EnrolOptions,
  { ca, cert, key }: HostCredentials,
): Promise<ApiError | undefined> {
  if (new X509Certificate(cert).validToDate.getTime() <= Date.now()) return undefined;
  // Nobody waits long for it: machines are to be looked after, whether or not a control plane is there.
  const client = new HttpClient({ url, ca, cert, key, timeoutMs: 3000 });
  try {
    await client.raw("GET", "/api");
    return undefined;
  } catch (error) {
    const isTakenOut =
      isApiError(error, "Unauthorized") &&
      error.details.causes?.some(({ reason }) => reason === "HostTakenOut");
    return isTakenOut ? error : undefined;
  } finally {
    client.close();
  }
}

/**
 * Asks for the certificate of the streams between hosts where there is none (a host that a version before enrolled has none) or it is due.
 * @throws Error when it is not given
 */
async function ensureMigrations(options: EnrolOptions, own: HostCredentials): Promise<void> {
  const { ca, migrationsDirectory: directory } = own;
  const isThere = isComplete(directory);
  const read = (file: string) => readFileSync(join(directory, file), "utf8");
  if (isThere && !isOld(new X509Certificate(read("client-cert.pem")))) return;
  const key = isThere ? read("client-key.pem") : await newKey();
  const cert = await askForCertificate(options, { ca, key, by: own, use: "migrations" });
  // Control planes of before do not know what it is asked for, and answer with a login.
  if (!new X509Certificate(cert).subject.split("\n").includes(`O=${MIGRATIONS}`))
    throw new Error("the control plane gives no certificates for migrations: it is of an earlier version");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  await write(directory, "ca-cert.pem", ca);
  // Each host is server and client.
  for (const role of ["server", "client"]) await write(directory, `${role}-key.pem`, key);
  for (const role of ["server", "client"]) await write(directory, `${role}-cert.pem`, cert);
}

/** What QEMU processes are lent, in the agent's own folder. */
const migrationsIn = (directory: string) => join(directory, "migrations");
/** A folder of credentials: the client's certificate is written last. */
const isComplete = (directory: string) => existsSync(join(directory, "client-cert.pem"));

/**
 * Looks each hour whether the certificates are due, and hands the new one to `onRenewed`; each minute while there is none for migrations. Runs until the signal
 * aborts.
 */
export async function keepCertificate(
  options: EnrolOptions & {
    onRenewed: (credentials: HostCredentials) => void;
    clock: Clock;
    signal: AbortSignal;
    checkMs?: number;
  },
): Promise<void> {
  const { name, address, log, clock, signal, onRenewed } = options;
  const directory = directoryOf(options);
  while (!signal.aborted) {
    const everyMs = isComplete(migrationsIn(directory)) ? HOUR_MS : MINUTE_MS;
    await clock.sleep(options.checkMs ?? everyMs, signal);
    if (signal.aborted) return;
    try {
      let kept = readCredentials(directory);
      if (isDue(kept.cert, address)) {
        kept = await renew(options, kept);
        onRenewed(kept);
        log.info("agent.certificate.renewed", { host: name });
      }
      await ensureMigrations(options, kept);
    } catch (error) {
      log.warn("agent.certificate", { host: name, error });
    }
  }
}

function isDue(cert: string, address: string): boolean {
  const certificate = new X509Certificate(cert);
  return isOld(certificate) || certificate.checkIP(address) === undefined;
}

const isOld = ({ validFromDate: from, validToDate: to }: X509Certificate) => isDueForRenewal({ from, to });

/** The key stays, so that key and certificate fit at every moment; the CA stays, too. */
async function renew(options: EnrolOptions, kept: HostCredentials): Promise<HostCredentials> {
  const { ca, key } = kept;
  const isValid = new X509Certificate(kept.cert).validToDate.getTime() > Date.now();
  const cert = isValid
    ? await askForCertificate(options, { ca, key, by: kept })
    : await askForCertificate(options, { ca, key, token: readEnrolment(options.enrolmentFile).token });
  await write(directoryOf(options), "client-cert.pem", cert);
  return { ...kept, cert };
}

interface Asked {
  ca: string;
  /** Whose certificate it is to be. */
  key: string;
  token?: string;
  /** Who asks, where no token is shown. */
  by?: { cert: string; key: string };
  use?: "migrations";
}

async function newKey(): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  return pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", privateKey));
}

async function askForCertificate(
  { url, name, address }: EnrolOptions,
  { ca, key, token, by, use }: Asked,
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
  const client = new HttpClient({ url, ca, ...(by ? { cert: by.cert, key: by.key } : {}) });
  try {
    const answer = await client.raw("POST", "/enroll", {
      ...(token === undefined ? {} : { token }),
      name,
      csr: csr.toString("pem"),
      addresses: [address],
      ...(use === undefined ? {} : { use }),
    });
    const certificate = isFields(answer) ? answer.certificate : undefined;
    if (typeof certificate !== "string")
      throw new Error(`${url.join(", ")} did not answer with a certificate`);
    return certificate;
  } finally {
    client.close();
  }
}

/** Whole or not at all: a migration may read it at this moment; and after a power cut none is missing that was written before another. */
const write = (directory: string, file: string, text: string): Promise<void> =>
  writeDurably(join(directory, file), text, 0o600);

const directoryOf = ({ stateFolder }: EnrolOptions) => join(stateFolder, "tls");

function readCredentials(directory: string): HostCredentials {
  const read = (file: string) => readFileSync(join(directory, file), "utf8");
  return {
    ca: read("ca-cert.pem"),
    cert: read("client-cert.pem"),
    key: read("client-key.pem"),
    migrationsDirectory: migrationsIn(directory),
  };
}
