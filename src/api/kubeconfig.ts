/** The administrator's kubeconfig: what kubectl and the vireo command use to get in. Mode 0600, for it holds a token. */
import { existsSync, readFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import { ADMINS, type Pki } from "./pki.ts";
import { writeSecret } from "./secret-file.ts";

const text = (value: unknown, ...path: (string | number)[]): string | undefined => {
  let at: unknown = value;
  for (const key of path) at = typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined;
  return typeof at === "string" ? at : undefined;
};

/** The text of a kubeconfig with one cluster, one user and the context vireo. */
export function kubeconfig(server: string, ca: string, token: string, user = "admin"): string {
  return stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "vireo",
          cluster: { server, "certificate-authority-data": Buffer.from(ca).toString("base64") },
        },
      ],
      users: [{ name: user, user: { token } }],
      contexts: [{ name: "vireo", context: { cluster: "vireo", user, namespace: "default" } }],
      "current-context": "vireo",
    },
    { lineWidth: 0 },
  );
}

/** The token of a kubeconfig that is there already, if it is one. */
function tokenIn(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return text(parse(readFileSync(path, "utf8")), "users", 0, "user", "token");
  } catch {
    return undefined;
  }
}

/** Writes the administrator's kubeconfig. A token in it that is still good is kept, so that copies of the file go on working. */
export function ensureAdminKubeconfig(pki: Pki, path: string, server: string): void {
  const kept = tokenIn(path);
  const token =
    kept !== undefined && pki.tokens.userOf(kept)?.groups.includes(ADMINS)
      ? kept
      : pki.tokens.addUser({ name: "admin", groups: [ADMINS] });
  writeSecret(path, kubeconfig(server, pki.ca, token));
}

/** A host that was brought the enrolment file has this long to come in. */
export const ENROLMENT_TTL_MS = 24 * 3600_000;

/** What a host needs to enrol, as a file to carry there: where, whom to trust, and a bootstrap token. */
export function writeEnrolment(
  pki: Pki,
  path: string,
  options: { url: string; ttlMs: number; host?: string },
): void {
  const token = pki.tokens.addBootstrap(options);
  writeSecret(path, JSON.stringify({ url: options.url, ca: pki.ca, token }, undefined, 2));
}
