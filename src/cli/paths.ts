/** Where things are: the checkout, and the state of one installation. */
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the checkout. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Downloaded packages; outlives `vireo down`, so that the next build needs no network. */
export const CACHE = process.env.VIREO_CACHE ?? "/var/cache/vireo";

export interface StatePaths {
  state: string;
  /** Whether --state named it. */
  named: boolean;
  /** CA, server and admin keys. */
  pki: string;
  store: string;
  kubeconfig: string;
  /** What `up` started: process ids and namespaces, so that `down` can take it away. */
  record: string;
  /** How `up` was asked to make the installation; outlives `down --keep`. */
  settings: string;
  logs: string;
  pool: string;
  /** A folder that is another one on each development host. */
  local: string;
  host: (name: string) => string;
}

/** Folders of the installation under `state` (default $VIREO_STATE or /var/lib/vireo). */
export function statePaths(state?: string): StatePaths {
  const at = resolve(state ?? process.env.VIREO_STATE ?? "/var/lib/vireo");
  return {
    state: at,
    named: state !== undefined,
    pki: join(at, "pki"),
    store: join(at, "store.sqlite"),
    kubeconfig: join(at, "kubeconfig"),
    record: join(at, "up.json"),
    settings: join(at, "settings.json"),
    logs: join(at, "logs"),
    pool: join(at, "pool"),
    local: join(at, "local"),
    host: (name) => join(at, "hosts", name),
  };
}

/**
 * A short name for what an installation makes in the kernel (namespaces, links): empty for the default state folder, else from a
 * hash of it, so that installations on one machine (tests) never touch each other's.
 */
export function installationId(paths: StatePaths): string {
  if (paths.state === "/var/lib/vireo") return "";
  return createHash("sha256").update(paths.state).digest("hex").slice(0, 4);
}
