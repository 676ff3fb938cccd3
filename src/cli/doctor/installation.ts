/** The files of this installation: who may read them, how long certificates are good, what was started, what the logs and the audit log say. */
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { verifyAudit } from "../../api/audit.ts";
import { isAlive } from "../daemons.ts";
import { endOfFile } from "../own-log.ts";
import type { StatePaths } from "../paths.ts";
import { readRecord } from "../record.ts";
import { counted, type Finding, formatDuration, ok, problem, warning } from "./finding.ts";

const DAY_MS = 86_400_000;
const WARN_MS = 14 * DAY_MS;

export function checkFiles(paths: StatePaths): Finding[] {
  const secret = [paths.kubeconfig, ...filesIn(paths.pki).filter((file) => !file.endsWith(".crt"))];
  const open = secret.filter((file) => existsSync(file) && (statSync(file).mode & 0o077) !== 0);
  return [
    open.length > 0
      ? problem(
          `others than their owner may read ${open.join(", ")}`,
          `chmod go= ${open.join(" ")}; then make new tokens: these may be known`,
        )
      : ok("keys, tokens and kubeconfig are their owner's alone"),
    ...filesIn(paths.pki)
      .filter((file) => file.endsWith(".crt"))
      .map(checkCertificate),
  ];
}

const filesIn = (folder: string) =>
  existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
        entry.isFile() ? [join(folder, entry.name)] : [],
      )
    : [];

function checkCertificate(file: string): Finding {
  const { validToDate } = new X509Certificate(readFileSync(file));
  const left = validToDate.getTime() - Date.now();
  const isCa = file.endsWith("/ca.crt");
  const fix = isCa
    ? "nothing renews a CA by itself: plan a new installation, or ask its makers"
    : "a running control plane renews it: is one running? (`vireo up`)";
  if (left < 0) return problem(`${file}: ran out ${formatDuration(-left)} ago`, fix);
  const what = `${file}: good for ${formatDuration(left)}`;
  return left < WARN_MS ? warning(what, fix) : ok(what);
}

/** Hosts whose agents were started here. */
export const agentHosts = (paths: StatePaths): string[] =>
  (readRecord(paths)?.agents ?? []).map(({ name }) => name.replace(/^agent /, ""));

export function checkProcesses(paths: StatePaths): Finding[] {
  const record = readRecord(paths);
  if (!record) return [problem(`nothing was started from ${paths.state}`, "vireo up")];
  return [...record.controlPlanes, ...record.agents].map((daemon) =>
    isAlive(daemon)
      ? ok(`${daemon.name} runs as process ${daemon.pid}`)
      : problem(
          `${daemon.name} does not run (it was process ${daemon.pid})`,
          `\`vireo up\` starts it again; ${daemon.log} tells how it ended. Machines run on without it.`,
        ),
  );
}

/** How far back errors in the logs are told of, and how much of a log is looked at. */
const RECENT_MS = 3_600_000;
const TAIL_BYTES = 2 ** 20;

export function checkLogs(paths: StatePaths): Finding[] {
  const since = new Date(Date.now() - RECENT_MS).toISOString();
  const found = filesIn(paths.logs).flatMap((file) => {
    const recent = endOfFile(file, TAIL_BYTES)
      .split("\n")
      .flatMap((line) => errorIn(line, since));
    const last = recent.at(-1);
    return last
      ? [
          warning(
            `${file}: ${counted(recent.length, "error")} in the last hour, the last: ${last}`,
            "an error means that somebody must act; the lines around it tell more",
          ),
        ]
      : [];
  });
  return found.length > 0 ? found : [ok("no errors in the last hour")];
}

function errorIn(line: string, since: string): string[] {
  try {
    const parsed: unknown = JSON.parse(line);
    const field = (name: string): unknown => Reflect.get(Object(parsed), name);
    if (field("level") !== "error" || String(field("time")) < since) return [];
    return [`${String(field("event"))}${field("error") ? `: ${String(field("error"))}` : ""}`];
  } catch {
    return []; // not a line of the log
  }
}

export function checkAudit(paths: StatePaths): Finding[] {
  const verdicts = verifyAudit(join(paths.state, "audit"));
  if (verdicts.length === 0) return [ok("nothing was recorded yet")];
  return verdicts.map(({ file, records, wrong }) =>
    wrong
      ? problem(
          `${file}:${wrong.line}: ${wrong.what}`,
          "somebody changed it, or the disk did: keep a copy, and find out who could write there",
        )
      : ok(`${file}: whole, ${counted(records, "record")}`),
  );
}
