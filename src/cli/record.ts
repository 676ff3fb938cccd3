/** What an `up` made on this machine, kept in up.json of the state folder. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Daemon } from "./daemons.ts";
import { type DevelopmentNetwork, gatewayOf } from "./devnet.ts";
import type { StatePaths } from "./paths.ts";

/** What an `up` made, kept in up.json for later `up`s and for `down`. */
export interface UpRecord {
  port: number;
  network?: DevelopmentNetwork;
  /** The first one keeps kubeconfig and enrolment file. */
  controlPlanes: Daemon[];
  /** etcd://…, when it is not SQLite in the state folder. */
  store?: string;
  agents: Daemon[];
}

export function readRecord(paths: StatePaths): UpRecord | undefined {
  if (!existsSync(paths.record)) return undefined;
  // Written by this program alone, in a folder of mode 0700.
  return JSON.parse(readFileSync(paths.record, "utf8")) as UpRecord;
}

export function writeRecord(paths: StatePaths, record: UpRecord): void {
  writeFileSync(paths.record, JSON.stringify(record, undefined, 2), { mode: 0o600 });
}

/** Where the control planes listen. */
export function urlsOf({ network, port, controlPlanes }: UpRecord): string[] {
  const address = network ? gatewayOf(network) : "127.0.0.1";
  return controlPlanes.map((_, i) => `https://${address}:${port + i}`);
}
