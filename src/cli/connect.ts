/** A client for the control plane that a kubeconfig names: the way in of every verb. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { HttpClient } from "../client/http.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, urlsOf } from "./record.ts";
import { UserError } from "./user-error.ts";

const at = (value: unknown, ...path: (string | number)[]): unknown => {
  let found = value;
  for (const key of path)
    found = typeof found === "object" && found !== null ? Reflect.get(found, key) : undefined;
  return found;
};
const text = (value: unknown, ...path: (string | number)[]): string | undefined => {
  const found = at(value, ...path);
  return typeof found === "string" && found !== "" ? found : undefined;
};

/** The entry of a kubeconfig's list that has this name. */
function named(config: unknown, list: string, name: string | undefined): unknown {
  const all: unknown = at(config, list);
  return Array.isArray(all) ? all.find((entry) => text(entry, "name") === name) : undefined;
}

function readConfig(file: string): unknown {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "EACCES")
      throw new UserError(
        `${file}: may not be read by this user; run the command as the file's owner (sudo), or name another file with --kubeconfig`,
        { cause },
      );
    if (code === "ENOENT") throw new UserError(`${file}: no such file`, { cause });
    throw new UserError(
      `${file}: is not a kubeconfig: ${cause instanceof Error ? cause.message.split("\n")[0] : cause}`,
      { cause },
    );
  }
}

export interface Connection {
  client: HttpClient;
  /** The namespace of the context; "default" when it names none. */
  namespace: string;
  url: string;
  file: string;
}

/**
 * Opens the current context of a kubeconfig; `urls`: all control planes, where more than that cluster's are known.
 * @throws UserError that says what is wrong with the file
 */
function open(file: string, urls?: readonly string[]): Connection {
  const config = readConfig(file);
  const fail = (what: string): never => {
    throw new UserError(`${file}: ${what}; \`vireo up\` writes a complete one`);
  };
  const current = text(config, "current-context") ?? fail("current-context: is missing");
  const context = named(config, "contexts", current) ?? fail(`contexts: has no ${JSON.stringify(current)}`);
  const cluster = named(config, "clusters", text(context, "context", "cluster"));
  const user = named(config, "users", text(context, "context", "user"));
  /** Contents of a field that may be given in the file itself (base64) or as the path of another. */
  const pem = (entry: unknown, section: string, field: string): string | undefined => {
    const inside = text(entry, section, `${field}-data`);
    if (inside) return Buffer.from(inside, "base64").toString("utf8");
    const path = text(entry, section, field);
    return path && readFileSync(resolve(dirname(file), path), "utf8");
  };
  const url = text(cluster, "cluster", "server") ?? fail("clusters: the context's cluster has no server");
  const ca =
    pem(cluster, "cluster", "certificate-authority") ??
    fail("clusters: the context's cluster has no certificate-authority-data");
  const token = text(user, "user", "token");
  const cert = pem(user, "user", "client-certificate");
  const key = pem(user, "user", "client-key");
  if (!token && !(cert && key))
    fail("users: the context's user has neither a token nor a client certificate");
  const client = new HttpClient({
    url: urls ?? url,
    ca,
    name: "vireo-cli",
    ...(token ? { token } : {}),
    ...(cert && key ? { cert, key } : {}),
  });
  return { client, namespace: text(context, "context", "namespace") ?? "default", url, file };
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
export const connectTo = (paths: StatePaths): HttpClient => openConnection(paths).client;
