/** A client for the control plane that a kubeconfig names: the admin's way in. */
import { existsSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { HttpClient } from "../client/http.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, urlsOf } from "./record.ts";
import { UserError } from "./user-error.ts";

const text = (value: unknown, ...path: (string | number)[]): string | undefined => {
  let at: unknown = value;
  for (const key of path) at = typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined;
  return typeof at === "string" ? at : undefined;
};

/**
 * Reads the first cluster and user of the file; `urls`: all control planes, where more than that cluster's are known.
 * @throws UserError when the file is missing or not such a file
 */
export function connect(kubeconfig: string, urls?: readonly string[]): HttpClient {
  const config: unknown = parse(readFileSync(kubeconfig, "utf8"));
  const url = text(config, "clusters", 0, "cluster", "server");
  const ca = text(config, "clusters", 0, "cluster", "certificate-authority-data");
  const token = text(config, "users", 0, "user", "token");
  if (!url || !ca || !token) throw new UserError(`${kubeconfig}: not a kubeconfig written by \`vireo up\``);
  return new HttpClient({ url: urls ?? url, ca: Buffer.from(ca, "base64").toString("utf8"), token });
}

/** The client of the running installation. @throws UserError when nothing is up */
export function connectTo(paths: StatePaths): HttpClient {
  if (!existsSync(paths.kubeconfig))
    throw new UserError(
      `no control plane in ${paths.state}; start one with \`vireo up\`, or name its folder with --state`,
    );
  const record = readRecord(paths);
  return connect(paths.kubeconfig, record && urlsOf(record));
}
