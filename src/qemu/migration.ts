/**
 * Live migration over shared storage, as verified on QEMU 7.2. The source stops before the switchover (pause-before-switchover), so
 * that whoever decides can check again; the target takes the disks' locks only at `cont` (late-block-activate). Everything acts
 * on MIGRATION events, because polling would lengthen the outage.
 */
import { isFields, type Qmp, QmpError, type QmpEvent } from "./qmp.ts";

export interface MigrationStatus {
  /** none, setup, active, pre-switchover, device, completed, failed, cancelling, cancelled. */
  status: string;
  transferredBytes: number;
  remainingBytes: number;
  totalMs: number;
  downtimeMs: number;
  error?: string;
}

const capabilities = (names: readonly string[]) => ({
  capabilities: names.map((capability) => ({ capability, state: true })),
});

export interface Tls {
  /** Folder with ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem. */
  directory: string;
}

async function ensureCredentials(qmp: Qmp, tls: Tls, endpoint: "client" | "server"): Promise<string> {
  const id = `tls-${endpoint}`;
  try {
    await qmp.execute("object-add", {
      "qom-type": "tls-creds-x509",
      id,
      dir: tls.directory,
      endpoint,
      "verify-peer": true,
    });
  } catch (error) {
    if (!(error instanceof QmpError && /duplicate/i.test(error.message))) throw error;
  }
  return id;
}

/** Target: opens the listener; QEMU picks the port. @returns "tcp:IP:PORT", the same when called again */
export async function listenIncoming(qmp: Qmp, address: string, tls: Tls | undefined): Promise<string> {
  const open = await listeningAt(qmp);
  if (open) return open;
  await qmp.execute("migrate-set-capabilities", capabilities(["events", "late-block-activate"]));
  if (tls)
    await qmp.execute("migrate-set-parameters", { "tls-creds": await ensureCredentials(qmp, tls, "server") });
  await qmp.execute("migrate-incoming", { uri: `tcp:${address}:0` });
  const at = await listeningAt(qmp);
  if (!at) throw new QmpError("GenericError", "QEMU does not tell where it listens for the migration");
  return at;
}

async function listeningAt(qmp: Qmp): Promise<string | undefined> {
  const answer = await qmp.execute("query-migrate");
  const [socket] =
    isFields(answer) && Array.isArray(answer["socket-address"]) ? answer["socket-address"] : [];
  return isFields(socket) ? `tcp:${String(socket.host)}:${String(socket.port)}` : undefined;
}

/** Source: starts sending. The outage limit is what QEMU aims at; bandwidth is not limited here (its default, 128 MiB/s, is low). */
export async function startOutgoing(
  qmp: Qmp,
  uri: string,
  tls: Tls | undefined,
  hostname: string | undefined,
): Promise<void> {
  const { status } = await queryMigration(qmp);
  if (["setup", "active", "pre-switchover", "device", "completed"].includes(status)) return;
  await qmp.execute("migrate-set-capabilities", capabilities(["events", "pause-before-switchover"]));
  await qmp.execute("migrate-set-parameters", {
    "downtime-limit": 30,
    "max-bandwidth": 8 * 2 ** 30,
    // Empty strings reset what an earlier attempt has set.
    "tls-creds": tls ? await ensureCredentials(qmp, tls, "client") : "",
    "tls-hostname": tls ? (hostname ?? "") : "",
  });
  await qmp.execute("migrate", { uri });
}

export async function queryMigration(qmp: Qmp): Promise<MigrationStatus> {
  const answer = await qmp.execute("query-migrate");
  const fields = isFields(answer) ? answer : {};
  const ram = isFields(fields.ram) ? fields.ram : {};
  return {
    status: typeof fields.status === "string" ? fields.status : "none",
    transferredBytes: Number(ram.transferred ?? 0),
    remainingBytes: Number(ram.remaining ?? 0),
    totalMs: Number(fields["total-time"] ?? 0),
    downtimeMs: Number(fields.downtime ?? 0),
    ...(typeof fields["error-desc"] === "string" ? { error: fields["error-desc"] } : {}),
  };
}

const FINAL = ["completed", "failed", "cancelled"];

/** The status in a MIGRATION event; undefined for other events. */
export function statusOf(event: QmpEvent): string | undefined {
  return event.event === "MIGRATION" ? String(event.data.status) : undefined;
}

/** Source, in pre-switchover: hands over, and resolves when it has completed or failed (then the guest runs on here). */
export async function continueSwitchover(qmp: Qmp, timeoutMs = 30_000): Promise<MigrationStatus> {
  const before = await queryMigration(qmp);
  if (FINAL.includes(before.status)) return before;
  const ended = new Promise<void>((resolve) => {
    const stop = qmp.onEvent((event) => {
      if (!FINAL.includes(statusOf(event) ?? "")) return;
      stop();
      resolve();
    });
    qmp.onClose(resolve);
    setTimeout(resolve, timeoutMs).unref();
  });
  if (before.status === "pre-switchover") await qmp.execute("migrate-continue", { state: "pre-switchover" });
  await ended;
  return queryMigration(qmp);
}
