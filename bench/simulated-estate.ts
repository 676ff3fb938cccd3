/** The largest estate as a control plane has it stored: machines that run, on hosts whose agents are simulated (simulated-agents.ts). */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { beginning } from "../src/agent/runs/changes.ts";
import type { HttpClient } from "../src/client/http.ts";
import type { HostFacts } from "../src/compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { isApiError } from "../src/resource/errors.ts";
import { openSqliteStore } from "../src/store/sqlite.ts";
import { FACTS } from "../test/chaos/estate.ts";

/** How often simulated hosts beat: more seldom than real ones, because all of them share this machine with what is measured. */
export const HEARTBEAT_S = 30;

/**
 * How often they look at a machine, and tell what it uses when that is another by now: as real ones up to 100 hosts, of more so many machines a second as then.
 * Real ones of 2,500 hosts would tell 1,300 machines a second, which is more than one control plane takes.
 */
export const refreshSeconds = (hosts: number): number => 30 * Math.max(1, hosts / 100);

export const SIMULATED_FACTS: HostFacts = { ...FACTS, power: { idleWatts: 90, maxWatts: 320 } };

const TIME = "2026-01-01T00:00:00Z";

const object = (
  kind: string,
  version: string,
  name: string,
  namespace: string | undefined,
  rest: object,
) => ({
  apiVersion: `vireo.dev/${version}`,
  kind,
  metadata: {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid: randomUUID(),
    generation: 1,
    creationTimestamp: TIME,
  },
  ...rest,
});

/** Objects as they were stored once, managed fields and all. */
const STORED = readFileSync(resolve(import.meta.dirname, "../test/structure/stored-0.1.jsonl"), "utf8")
  .split("\n")
  .flatMap((line) => (line ? [JSON.parse(line) as { key: string; value: object }] : []));

function stored(key: string): object {
  const found = STORED.find((each) => each.key === key)?.value;
  if (!found) throw new Error(`test/structure/stored-0.1.jsonl has no ${key}`);
  return structuredClone(found);
}

/** "52:54:00:00:00:00" and on. */
const macOf = (i: number) =>
  `52:54:00:${[i >> 16, (i >> 8) & 255, i & 255].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;

const heard = { type: "Ready", status: "True", reason: "Heard", message: "", lastTransitionTime: TIME };

function* objects(machines: number, hosts: number): Generator<[key: string, object: object]> {
  for (let i = 0; i < hosts; i++) {
    const name = `host-${i}`;
    yield [
      `hosts/${name}`,
      object("Host", "v1", name, undefined, {
        spec: { site: `site-${i % 4}`, rack: `rack-${i % 80}` },
        status: { facts: SIMULATED_FACTS, capacity: { cpus: 64, memory: "256Gi" }, conditions: [heard] },
      }),
    ];
    // As if it had just beaten: else all machines were Unknown until the agents are up.
    const spec = { holder: name, durationSeconds: 1800, renewTime: new Date().toISOString() };
    yield [`leases/host-${name}`, object("Lease", "v1", `host-${name}`, undefined, { spec })];
  }
  yield ["namespaces/default", stored("namespaces/default")];
  yield ["storagepools/default", stored("storagepools/default")];
  yield [
    "networks/default",
    object("Network", "v1", "default", undefined, { spec: { subnet: "10.0.0.0/8", nat: true, mtu: 1450 } }),
  ];
  yield [
    "images/db",
    object("Image", "v1", "db", undefined, { spec: { storagePool: "default", file: "simulated.qcow2" } }),
  ];
  for (let i = 0; i < machines; i++) {
    const name = `vm-${String(i).padStart(5, "0")}`;
    const host = `host-${i % hosts}`;
    const labels = { app: `app-${i % 400}`, tier: `tier-${i % 8}` };
    const address = `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    const [uid, runUid] = [randomUUID(), randomUUID()];
    const interfaces = [{ network: "default", mac: macOf(i), address, port: 0 }];
    const size = { cpus: 1 + (i % 4), memory: `${2 + 2 * (i % 6)}Gi` };
    // Safe: they were stored as such.
    const vm = stored("virtualmachines/default/db-1") as VirtualMachine;
    const run = stored("instances/default/db-1-1") as Instance;
    const { readiness: _, ...spec } = vm.spec;
    const { readiness: __, ...runSpec } = run.spec;
    yield [
      `virtualmachines/default/${name}`,
      {
        ...vm,
        metadata: { ...vm.metadata, name, uid, labels },
        spec: { ...spec, ...size },
        status: {
          ...vm.status,
          instance: `${name}-1`,
          host,
          interfaces,
          addresses: [address],
          machineType: run.status?.machineType ?? "",
        },
      },
    ];
    const begun = { ...run, spec: { ...runSpec, ...size, vm: name, vmUid: uid, host, interfaces } };
    const [owner] = run.metadata.ownerReferences ?? [];
    yield [
      `instances/default/${name}-1`,
      {
        ...begun,
        metadata: {
          ...run.metadata,
          name: `${name}-1`,
          uid: runUid,
          labels: { ...labels, "vireo.dev/vm": name },
          ownerReferences: [{ ...owner, name, uid }],
        },
        status: {
          ...run.status,
          pid: 1000 + i,
          cpuModel: "pretend",
          addresses: [address],
          has: beginning(begun),
        },
      },
    ];
  }
  for (let i = 0; i < 8; i++)
    yield [
      `policies/default/tier-${i}`,
      object("Policy", "v2", `tier-${i}`, "default", {
        spec: {
          selector: { matchLabels: { tier: `tier-${i}` } },
          goals: [{ goal: "balanced", weight: 1 }],
          automation: "act",
          priority: 0,
        },
      }),
    ];
}

const PAGE = 500;

/** All objects of a kind, a page at a time, as long as it takes. @param query "&fields=…" @returns with the revision of the last page */
export async function inPages<T>(
  client: HttpClient,
  plural: string,
  query = "",
): Promise<{ items: T[]; resourceVersion: string }> {
  const items: T[] = [];
  let [next, resourceVersion]: [string | undefined, string] = ["", ""];
  while (next !== undefined) {
    const path = `/apis/vireo.dev/v1/${plural}?limit=${PAGE}${query}${next && `&continue=${encodeURIComponent(next)}`}`;
    const answer = await client.raw("GET", path).catch((error: unknown) => {
      // A server that begins with such an estate has much else to do.
      if (!isApiError(error, "Timeout")) throw error;
    });
    if (answer === undefined) continue;
    // Safe: the server's own answer, to a list of this kind.
    const page = answer as {
      items: T[];
      metadata: { continue?: string; resourceVersion: string };
    };
    items.push(...page.items);
    next = page.metadata.continue || undefined;
    resourceVersion = page.metadata.resourceVersion;
  }
  return { items, resourceVersion };
}

/** Makes the store of a control plane that is to begin with it. @param file of SQLite */
export async function storeEstate(file: string, machines: number, hosts: number): Promise<void> {
  const store = await openSqliteStore(file);
  let commits: Promise<unknown>[] = [];
  for (const [key, value] of objects(machines, hosts)) {
    commits.push(store.commit({ key, value: JSON.stringify(value), expected: 0 }));
    if (commits.length >= 2000) {
      await Promise.all(commits);
      commits = [];
    }
  }
  await Promise.all(commits);
  await store.close();
}
