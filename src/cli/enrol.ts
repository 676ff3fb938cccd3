/** `vireo enrol`: what a host on another machine needs to come in. Made where the control plane is, because its CA and tokens are files there. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ENROLMENT_TTL_MS, writeEnrolment } from "../api/kubeconfig.ts";
import { Pki } from "../api/pki.ts";
import { openConnection } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { LOOPBACK, readRecord, urlsOf } from "./record.ts";
import { UserError } from "./user-error.ts";

/** Writes the file, readable by its owner alone, and tells what to do with it. The control plane may run or not. @throws UserError */
export async function enrolHosts(
  paths: StatePaths,
  file: string,
  print: (line: string) => void,
): Promise<void> {
  if (!existsSync(paths.pki) || !existsSync(paths.kubeconfig))
    throw new UserError(
      `${paths.state}: there is no control plane here; run this where \`vireo up\` made it`,
    );
  const record = readRecord(paths);
  const urls = record ? urlsOf(record) : [openConnection(paths).url];
  const [url = ""] = urls;
  if (new URL(url).hostname === LOOPBACK)
    throw new UserError(
      `the control plane listens on ${LOOPBACK} alone, where no other machine reaches it: \`vireo down --keep\`, then \`vireo up --address IP\` with an address of this machine`,
    );
  if (record?.network)
    throw new UserError(
      `this installation has development hosts in a network of this machine's own (--hosts), which no other machine reaches: take another --state, and \`vireo up --address IP\` with an address of this machine`,
    );
  const target = resolve(file);
  if (existsSync(target)) throw new UserError(`${file}: exists already; name another, or remove it`);
  if (!existsSync(dirname(target))) throw new UserError(`${dirname(target)}: there is no such folder`);
  writeEnrolment(await Pki.open(paths.pki), target, { url, ttlMs: ENROLMENT_TTL_MS });
  print(
    `${file}: hosts may come in by it until ${new Date(Date.now() + ENROLMENT_TTL_MS).toISOString()}. Carry it there, and run as root:`,
  );
  print(
    `  ./vireo --state /var/lib/vireo-agent agent --name NAME --address IP ${urls.map((each) => `--join ${each}`).join(" ")} --enrolment ${file}`,
  );
}
