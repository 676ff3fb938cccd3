/** Kubeconfigs: where a control plane is, whom to trust, and who one is. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import type { ConnectionOptions } from "./connection.ts";
import { HttpClient } from "./http.ts";

/** Says what is wrong with the file. */
export class KubeconfigError extends Error {}

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
      throw new KubeconfigError(
        `${file}: may not be read by this user; run the command as the file's owner (sudo), or name another file with --kubeconfig`,
        { cause },
      );
    if (code === "ENOENT") throw new KubeconfigError(`${file}: no such file`, { cause });
    throw new KubeconfigError(
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
 * A client for the current context of a kubeconfig. `name`: by which its writes are recorded (fieldManager); `urls`: all control planes,
 * where more than that cluster's are known. @throws KubeconfigError
 */
export function openKubeconfig(
  file: string,
  options: Pick<ConnectionOptions, "name" | "onWarning"> & { urls?: readonly string[] | undefined } = {},
): Connection {
  const { name = "vireo", urls, onWarning } = options;
  const config = readConfig(file);
  const fail = (what: string): never => {
    throw new KubeconfigError(`${file}: ${what}; \`vireo up\` writes a complete one`);
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
    name,
    ...(token ? { token } : {}),
    ...(cert && key ? { cert, key } : {}),
    ...(onWarning ? { onWarning } : {}),
  });
  return { client, namespace: text(context, "context", "namespace") ?? "default", url, file };
}
