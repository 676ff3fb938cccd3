/** A client for the control plane that a kubeconfig names: the way in of every verb. */
import { existsSync } from "node:fs";
import type { HttpClient } from "../client/http.ts";
import { type Connection, KubeconfigError, openKubeconfig } from "../client/kubeconfig.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, urlsOf } from "./record.ts";
import { UserError } from "./user-error.ts";

/** @throws UserError that says what is wrong with the file */
function open(file: string, urls?: readonly string[]): Connection {
  try {
    // As kubectl has it.
    const onWarning = (text: string) => process.stderr.write(`Warning: ${text}\n`);
    return openKubeconfig(file, { name: "vireo-cli", urls, onWarning });
  } catch (cause) {
    throw cause instanceof KubeconfigError ? new UserError(cause.message, { cause }) : cause;
  }
}

/** The client of a kubeconfig. @throws UserError */
export const connect = (kubeconfig: string, urls?: readonly string[]): HttpClient =>
  open(kubeconfig, urls).client;

/**
 * The running installation, or the control plane that --kubeconfig or, where nothing is installed and no --state given, $KUBECONFIG names.
 * @throws UserError when there is none
 */
export function openConnection(paths: StatePaths, kubeconfig?: string): Connection {
  if (kubeconfig !== undefined) return open(kubeconfig);
  if (existsSync(paths.kubeconfig)) {
    const record = readRecord(paths);
    return open(paths.kubeconfig, record && urlsOf(record));
  }
  // Who named a folder means that one: never another data center because its name was mistyped.
  const fromEnvironment = paths.named
    ? undefined
    : process.env.KUBECONFIG?.split(":").find((file) => existsSync(file));
  if (fromEnvironment) return open(fromEnvironment);
  throw new UserError(
    `no control plane in ${paths.state}; start one with \`vireo up\`, or name its folder with --state or a kubeconfig with --kubeconfig`,
  );
}

/** The client of openConnection. */
export const connectTo = ({ paths, kubeconfig }: { paths: StatePaths; kubeconfig?: string }): HttpClient =>
  openConnection(paths, kubeconfig).client;
