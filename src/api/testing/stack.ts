/** A real API server on a free port over a store in a temporary folder, for tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "../../client/connection.ts";
import { HttpClient } from "../../client/http.ts";
import { KINDS } from "../../kinds.ts";
import { hostUser } from "../../resource/host-name.ts";
import { GROUP, type Kind } from "../../resource/kind.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import { ensureAdminKubeconfig } from "../kubeconfig.ts";
import { Operations } from "../operations.ts";
import { ADMINS, HOSTS, Pki } from "../pki.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "../server.ts";
import type { Service } from "../service.ts";
import { Sessions } from "../sessions.ts";
import { TakenOut } from "../taken-out.ts";

export interface ApiStack extends AsyncDisposable {
  readonly folder: string;
  readonly pki: Pki;
  readonly server: ApiServer;
  readonly service: Service;
  readonly kubeconfig: string;
  /** What the server logged as an error: empty, unless the server has a bug. */
  readonly errors: unknown[];
  /** A client with the administrator's token. */
  admin(): HttpClient;
  /** A client with the certificate of a host's agent. */
  host(name: string): Promise<HttpClient>;
  client(options: Omit<ConnectionOptions, "url" | "ca">): HttpClient;
}

/** @param more kinds that are served besides the real ones @param checked kinds whose rooms' rules hold @param serving what else is served, of what is stored */
export async function startApiStack({
  more = [],
  checked = [],
  serving = () => ({}),
  pki: given,
  ...options
}: Partial<ApiServerOptions> & {
  more?: readonly Kind[];
  checked?: readonly string[];
  serving?: (service: Service) => Partial<ApiServerOptions>;
} = {}): Promise<ApiStack> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-api-"));
  const pki = given ?? (await Pki.open(join(folder, "pki")));
  const store = await openSqliteStore(join(folder, "store.sqlite"));
  // Without the rules of the kinds' rooms, but of those that are asked for: these tests are about the API, and make objects that refer to nothing.
  const own = KINDS.map((kind) => {
    const { check: _, warn: __, ...bare } = kind;
    return kind.group === GROUP && !checked.includes(kind.kind) ? bare : kind;
  });
  const kinds = [...own, ...more];
  const service = await Operations.open(store, kinds);
  const takenOut = await TakenOut.open(store);
  const errors: unknown[] = [];
  const server = await startApiServer({
    service,
    pki,
    host: "127.0.0.1",
    port: 0,
    sessions: new Sessions(store),
    takenOut,
    log: { info() {}, error: (_event, fields) => errors.push(fields) },
    ...serving(service),
    ...options,
  });
  const kubeconfig = join(folder, "kubeconfig");
  ensureAdminKubeconfig(pki, kubeconfig, server.url);
  const clients: HttpClient[] = [];
  const client = (more: Omit<ConnectionOptions, "url" | "ca">) => {
    const made = new HttpClient({ url: server.url, ca: pki.ca, ...more });
    clients.push(made);
    return made;
  };
  return {
    folder,
    pki,
    server,
    service,
    kubeconfig,
    errors,
    client,
    admin: () => client({ token: pki.tokens.addUser({ name: "admin", groups: [ADMINS] }) }),
    host: async (name) => client(await pki.clientCredentials(hostUser(name), [HOSTS])),
    async [Symbol.asyncDispose]() {
      for (const each of clients) each.close();
      await server.close();
      takenOut.close();
      await service.close();
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
