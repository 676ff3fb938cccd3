/** Which requests are lines of the audit log, and what becomes of them while it cannot be written. */
import { ApiError } from "../resource/errors.ts";
import type { AuditLog, AuditRecord } from "./audit.ts";
import type { Exchange } from "./exchange.ts";
import type { Health } from "./pages.ts";

const isWrite = ({ request }: Exchange) => request.method !== "GET" && request.method !== "HEAD";
const readsSecrets = ({ path }: Exchange) => path.includes("secrets") || path[0] === "backup";

/** Before anything is done: what would have to be recorded is refused while it cannot be. @throws ApiError ServiceUnavailable */
export function requireAudit({ trouble }: AuditLog, exchange: Exchange): void {
  if (trouble !== undefined && (isWrite(exchange) || readsSecrets(exchange) || exchange.upgrade))
    throw unrecorded(trouble);
}

// No time to come again: it takes somebody to make room, and who repeats it meanwhile loads what fails.
const unrecorded = (trouble: string) =>
  new ApiError("ServiceUnavailable", `${trouble}. Until it can, nothing is changed and no secret is read`);

/** Just before an answer leaves. @throws ApiError ServiceUnavailable in the place of what cannot be recorded */
export function auditAnswer(audit: AuditLog, exchange: Exchange, code: number): void {
  if (!isAudited(exchange, code)) return;
  if (audit.trouble !== undefined) {
    if (code === 503) return;
    // Writes that are done, or may be, wait in memory; of all else there could be any number.
    if (!isWrite(exchange) || (code >= 400 && code < 500)) throw unrecorded(audit.trouble);
  }
  audit.record(recordOf(exchange, code));
}

export function auditHealth({ trouble }: AuditLog): Health {
  // All can be read meanwhile.
  return {
    name: "audit",
    ok: trouble === undefined,
    optional: true,
    ...(trouble ? { message: trouble } : {}),
  };
}

/** Writes, refusals, consoles, and reads of secrets. */
function isAudited(exchange: Exchange, code: number): boolean {
  return (
    isWrite(exchange) || exchange.isAudited === true || code === 401 || code === 403 || readsSecrets(exchange)
  );
}

function recordOf({ request, id, user, asked, path }: Exchange, code: number): AuditRecord {
  return {
    time: new Date().toISOString(),
    request: id,
    user: user.name,
    ...(asked && asked.name !== user.name ? { impersonatedBy: asked.name } : {}),
    from: request.socket.remoteAddress ?? "",
    verb: request.method ?? "",
    path: `/${path.join("/")}`,
    code,
  };
}
