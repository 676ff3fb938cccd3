/** What an `up` was asked for, in settings.json of the state folder, and what it made on this machine, in up.json. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Daemon } from "./daemons.ts";
import { type DevelopmentNetwork, gatewayOf } from "./devnet.ts";
import type { OidcFlags } from "./oidc.ts";
import type { StatePaths } from "./paths.ts";

/** What `up` was asked for: the next one, after `down --keep`, does the same unless told otherwise. */
export interface Settings {
  /** Development hosts; this machine is the host without them. */
  hosts?: number;
  port?: number;
  /** Where hosts of other machines reach this one; none do without it. */
  address?: string;
  /** etcd://…; SQLite in the state folder without it. */
  store?: string;
  controlPlanes?: number;
  oidc?: OidcFlags;
}

/** What an `up` made, kept in up.json for later `up`s and for `down`. */
export interface UpRecord {
  port: number;
  network?: DevelopmentNetwork;
  /** Of this machine, where the control planes listen; without network. Absent in records of earlier versions: 127.0.0.1. */
  address?: string;
  /** The first one keeps kubeconfig and enrolment file. */
  controlPlanes: Daemon[];
  agents: Daemon[];
}

// Both files are written by this program alone, in a folder that is root's.

export function readRecord(paths: StatePaths): UpRecord | undefined {
  if (!existsSync(paths.record)) return undefined;
  return JSON.parse(readFileSync(paths.record, "utf8")) as UpRecord;
}

export function readSettings(paths: StatePaths): Settings {
  if (!existsSync(paths.settings)) return {};
  return JSON.parse(readFileSync(paths.settings, "utf8")) as Settings;
}

export function writeSettings(paths: StatePaths, settings: Settings): void {
  writeFileSync(paths.settings, JSON.stringify(settings, undefined, 2), { mode: 0o600 });
}

export function writeRecord(paths: StatePaths, record: UpRecord): void {
  writeFileSync(paths.record, JSON.stringify(record, undefined, 2), { mode: 0o600 });
}

/** What no other machine reaches. */
export const LOOPBACK = "127.0.0.1";

/** Where the control planes listen. */
export function urlsOf({ network, port, controlPlanes, address = LOOPBACK }: UpRecord): string[] {
  const at = network ? gatewayOf(network) : address;
  return controlPlanes.map((_, i) => `https://${at}:${port + i}`);
}
