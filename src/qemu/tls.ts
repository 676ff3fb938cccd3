/** Credentials of one QEMU for what it sends to and takes from others: memory and disks alike. */
import { type Qmp, QmpError } from "./qmp.ts";

export interface Tls {
  /** Folder with ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem; QEMU's user must be able to read it. */
  directory: string;
  /** Target: who may send, as the certificate's distinguished name as GnuTLS writes it, "CN=a,O=hosts"; needed there. */
  peers?: string;
}

const PEERS = "tls-peers";
const idOf = (endpoint: "client" | "server") => `tls-${endpoint}`;

async function dropObject(qmp: Qmp, id: string): Promise<void> {
  await qmp.execute("object-del", { id }).catch((error: unknown) => {
    if (!(error instanceof QmpError && error.errorClass === "GenericError")) throw error; // not there
  });
}

/** Replaces an object, so that renewed certificates are read. */
async function setObject(qmp: Qmp, object: { "qom-type": string; id: string; [key: string]: unknown }) {
  await dropObject(qmp, object.id);
  await qmp.execute("object-add", object);
}

async function setCredentials(qmp: Qmp, tls: Tls, endpoint: "client" | "server"): Promise<string> {
  const id = idOf(endpoint);
  const { directory: dir } = tls;
  await setObject(qmp, { "qom-type": "tls-creds-x509", id, dir, endpoint, "verify-peer": true });
  return id;
}

/** For the end that listens: its credentials, and whom it lets in. Names of objects. @throws QmpError also when nobody is named who may come in */
export async function serverTls(qmp: Qmp, tls: Tls): Promise<{ "tls-creds": string; "tls-authz": string }> {
  if (tls.peers === undefined) throw new QmpError("GenericError", "it is not known which host is to send");
  const rules = [{ match: tls.peers, policy: "allow", format: "exact" }];
  await setObject(qmp, { "qom-type": "authz-list", id: PEERS, policy: "deny", rules });
  return { "tls-creds": await setCredentials(qmp, tls, "server"), "tls-authz": PEERS };
}

/** For the end that connects: the name of its credentials. */
export const clientTls = (qmp: Qmp, tls: Tls): Promise<string> => setCredentials(qmp, tls, "client");

/** The keys are in QEMU's memory no longer. Of one that neither sends nor is sent: what there is of connections goes on. No-op when there are none. */
export async function dropCredentials(qmp: Qmp): Promise<void> {
  for (const id of [idOf("client"), idOf("server"), PEERS]) await dropObject(qmp, id);
}
