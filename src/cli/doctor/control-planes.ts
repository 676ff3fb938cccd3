/** Each control plane by itself, and the store behind them. */
import { existsSync, statSync } from "node:fs";
import type { HttpClient } from "../../client/http.ts";
import { Lease } from "../../reconcile/kinds.ts";
import { EtcdClient } from "../../store/etcd-client.ts";
import { parseEtcdAddress } from "../../store/open.ts";
import type { StatePaths } from "../paths.ts";
import { readRecord, readSettings, urlsOf } from "../record.ts";
import { type Finding, formatDuration, ok, problem, size, unknown, warning } from "./finding.ts";

/** @param clientOf opens one control plane */
export async function checkControlPlanes(
  urls: readonly string[],
  clientOf: (url: string) => HttpClient,
): Promise<Finding[]> {
  const each = await Promise.all(urls.map((url) => checkOne(url, clientOf(url))));
  return each.flat();
}

async function checkOne(url: string, client: HttpClient): Promise<Finding[]> {
  try {
    const began = performance.now();
    const lease = await client.get(Lease, { name: "control-plane" });
    const ms = Math.round(performance.now() - began);
    const version: unknown = Reflect.get(Object(await client.raw("GET", "/version")), "gitVersion");
    return [ok(`${url}: answers in ${ms} ms, version ${String(version)}`), leads(url, lease)];
  } catch (error) {
    return [
      problem(
        `${url}: ${error instanceof Error ? error.message : String(error)}`,
        "is its process there (above), and its store (below)? Its log tells more",
      ),
    ];
  } finally {
    client.close();
  }
}

function leads(url: string, lease: Lease | undefined): Finding {
  const { holder, renewTime, durationSeconds } = lease?.spec ?? {
    holder: "",
    renewTime: "",
    durationSeconds: 15,
  };
  const age = Date.now() - Date.parse(renewTime);
  if (!holder || age > 2 * durationSeconds * 1000)
    return problem(
      `${url}: nobody leads${holder ? ` (the lease was last renewed ${formatDuration(age)} ago)` : ""}: machines run, but nothing is started, moved or mended`,
      "a control plane takes over within 15 s when it can write to the store",
    );
  return ok(`${url}: ${holder.split(" ")[0]} leads, renewed ${formatDuration(age)} ago`);
}

export async function checkStore(paths: StatePaths): Promise<Finding[]> {
  const address = readSettings(paths).store;
  if (address) return checkEtcd(address);
  if (!existsSync(paths.store)) return [unknown(`${paths.store}: there is no such file`)];
  const bytesOf = (file: string) => (existsSync(file) ? statSync(file).size : 0);
  const [file, wal] = [bytesOf(paths.store), bytesOf(`${paths.store}-wal`)];
  const what = `SQLite in ${paths.store}: ${size(file)}, and ${size(wal)} in its log`;
  return [
    wal > 2 ** 30
      ? warning(what, "the log of writes is not taken over into the file: is the disk full, or does it fail?")
      : ok(what),
  ];
}

/** Every member by itself. */
async function checkEtcd(address: string): Promise<Finding[]> {
  const { endpoints, tls } = parseEtcdAddress(address);
  const each = await Promise.all(
    endpoints.map(async (endpoint): Promise<Finding> => {
      const client = new EtcdClient({ endpoints: [endpoint], ...(tls ? { tls } : {}) });
      try {
        const began = performance.now();
        await client.read("Range", { key: Buffer.from("/"), keys_only: true, limit: 1 });
        return ok(
          `etcd ${endpoint}: answers in ${Math.round(performance.now() - began)} ms, with a majority`,
        );
      } catch (error) {
        return problem(
          `etcd ${endpoint}: ${error instanceof Error ? error.message : String(error)}`,
          "start the member again; while a majority is there, nothing is lost and all works on",
        );
      } finally {
        client.close();
      }
    }),
  );
  return each;
}

/** The control planes of this installation, or the one of the kubeconfig. */
export const controlPlaneUrls = (paths: StatePaths, otherwise: string): string[] => {
  const record = readRecord(paths);
  return record ? urlsOf(record) : [otherwise];
};
