/** What an `up` was asked for, in settings.json of the state folder, and what it made on this machine, in up.json. */
import { Type } from "typebox";
import type { Daemon } from "./daemons.ts";
import { type DevelopmentNetwork, gatewayOf } from "./devnet.ts";
import type { OidcFlags } from "./oidc.ts";
import { readOwn, writeOwn } from "./own-file.ts";
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

const Texts = Type.Array(Type.String());
const DaemonShape = Type.Object({
  name: Type.String(),
  args: Texts,
  log: Type.String(),
  namespace: Type.Optional(Type.String()),
  mount: Type.Optional(Type.Object({ from: Type.String(), at: Type.String() })),
  pid: Type.Optional(Type.Integer()),
  startTime: Type.Optional(Type.String()),
});
const NetworkShape = Type.Object({
  bridge: Type.String(),
  prefix: Type.String(),
  hosts: Type.Array(Type.Object({ name: Type.String(), namespace: Type.String(), address: Type.String() })),
});
const RecordShape = Type.Object({
  port: Type.Integer(),
  network: Type.Optional(NetworkShape),
  address: Type.Optional(Type.String()),
  controlPlanes: Type.Array(DaemonShape),
  agents: Type.Array(DaemonShape),
});
const SettingsShape = Type.Object({
  hosts: Type.Optional(Type.Integer()),
  port: Type.Optional(Type.Integer()),
  address: Type.Optional(Type.String()),
  store: Type.Optional(Type.String()),
  controlPlanes: Type.Optional(Type.Integer()),
  oidc: Type.Optional(Type.Record(Type.String(), Type.String())),
});

/** @throws UserError when the file is not as it was written */
export function readRecord(paths: StatePaths): UpRecord | undefined {
  return readOwn(
    paths.record,
    RecordShape,
    `it says what \`vireo up\` has started: end what runs of it (pgrep -af ${paths.state}), remove the file, and run \`vireo up\` again`,
  );
}

/** @throws UserError when the file is not as it was written */
export function readSettings(paths: StatePaths): Settings {
  const wayOut =
    "it says how `vireo up` was asked to make the installation: remove it, and give `vireo up` the same options again";
  return readOwn(paths.settings, SettingsShape, wayOut) ?? {};
}

export const writeSettings = (paths: StatePaths, settings: Settings): void =>
  writeOwn(paths.settings, settings);

export const writeRecord = (paths: StatePaths, record: UpRecord): void => writeOwn(paths.record, record);

/** What no other machine reaches. */
export const LOOPBACK = "127.0.0.1";

/** Where the control planes listen. */
export function urlsOf({ network, port, controlPlanes, address = LOOPBACK }: UpRecord): string[] {
  const at = network ? gatewayOf(network) : address;
  return controlPlanes.map((_, i) => `https://${at}:${port + i}`);
}
