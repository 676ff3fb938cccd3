/** `vireo audit verify`: whether the audit log is as it was written. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type AuditVerdict, verifyAudit, verifyFile } from "../api/audit.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";

/** @throws UserError naming file and line, when something was changed */
export function auditVerify(
  paths: StatePaths,
  file: string | undefined,
  print: (line: string) => void,
): void {
  const folder = join(paths.state, "audit");
  const missing = file ?? folder;
  if (!existsSync(missing)) throw new UserError(`${missing}: there is no audit log`);
  const verdicts: AuditVerdict[] = file ? [verifyFile(file)] : verifyAudit(folder);
  for (const { file: name, records, first, last, end, wrong } of verdicts)
    if (!wrong)
      print(
        `${name}: whole: ${records} records${first ? ` from ${first} to ${last}, the last has hash ${end}` : ""}`,
      );
  const broken = verdicts.filter(({ wrong }) => wrong);
  if (broken.length > 0)
    throw new UserError(
      broken.map(({ file: name, wrong }) => `${name}:${wrong?.line}: ${wrong?.what}`).join("\n"),
    );
}
