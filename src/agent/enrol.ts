/** How this host gets its certificate: a key of its own, a request, and the bootstrap token of the enrolment file. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import "reflect-metadata";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import { HttpClient } from "../client/http.ts";
import { isFields } from "../qemu/qmp.ts";

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

/** The file that `vireo up` or an administrator brings to the host. */
function readEnrolment(path: string): { ca: string; token: string } {
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  const field = (name: string) => (isFields(value) ? value[name] : undefined);
  const [ca, token] = [field("ca"), field("token")];
  if (typeof ca !== "string" || typeof token !== "string")
    throw new Error(`${path}: not an enrolment file; it needs "ca" and "token"`);
  return { ca, token };
}

/** Enrols once; afterwards the kept credentials are used. @throws Error */
export async function enrol(options: {
  url: readonly string[];
  name: string;
  address: string;
  enrolmentFile: string;
  stateFolder: string;
}): Promise<HostCredentials> {
  const { url, name, address, enrolmentFile, stateFolder } = options;
  const tlsDirectory = join(stateFolder, "tls");
  const at = (file: string) => join(tlsDirectory, file);
  if (!existsSync(at("client-cert.pem"))) {
    const { ca, token } = readEnrolment(enrolmentFile);
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const request = await Pkcs10CertificateRequestGenerator.create({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
    });
    const key = pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", keys.privateKey));
    const client = new HttpClient({ url, ca });
    const answer = await client.raw("POST", "/enroll", {
      token,
      name,
      csr: request.toString("pem"),
      addresses: [address],
    });
    client.close();
    const certificate = isFields(answer) ? answer.certificate : undefined;
    if (typeof certificate !== "string")
      throw new Error(`${url.join(", ")} did not answer with a certificate`);
    // The agent's alone: a QEMU process is lent a copy for the time of a migration (qemu-record.ts, lendCredentials).
    mkdirSync(tlsDirectory, { recursive: true, mode: 0o700 });
    const write = (file: string, text: string) => writeFileSync(at(file), text, { mode: 0o600 });
    write("ca-cert.pem", ca);
    // Between hosts each is server and client, with one certificate. The client's is written last: it says that all is there.
    for (const role of ["server", "client"]) {
      write(`${role}-key.pem`, key);
      write(`${role}-cert.pem`, certificate);
    }
  }
  const read = (file: string) => readFileSync(at(file), "utf8");
  return {
    ca: read("ca-cert.pem"),
    cert: read("client-cert.pem"),
    key: read("client-key.pem"),
    tlsDirectory,
  };
}
