/**
 * One of three etcd members is killed, paused, or cut off from the other two (while the control planes still reach it), again and again, under two
 * control planes and clients that write, read and watch: nothing acknowledged is lost, every read is linearizable, watches have no gaps.
 * 100 rounds: VIREO_CHAOS_ROUNDS=100 ./vireo test store-etcd
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ensureAdminKubeconfig } from "../../src/api/kubeconfig.ts";
import { Operations } from "../../src/api/operations.ts";
import { Pki } from "../../src/api/pki.ts";
import { type ApiServer, startApiServer } from "../../src/api/server.ts";
import { connect } from "../../src/cli/connect.ts";
import { KINDS } from "../../src/kinds.ts";
import { openEtcdStore } from "../../src/store/etcd.ts";
import type { Store } from "../../src/store/store.ts";
import { type EtcdCluster, startEtcd } from "../../src/store/testing/etcd.ts";
import { until } from "../support/stack.ts";
import { ChaosClients } from "./clients.ts";
import { check } from "./histories.ts";
import { Partitions } from "./partitions.ts";
import { Random } from "./random.ts";

const ROUNDS = Number(process.env.VIREO_CHAOS_ROUNDS ?? 9);
const SEED = Number(process.env.VIREO_CHAOS_SEED ?? 5);
const MEMBERS = 3;
const SERVERS = 2;

let net: Partitions;
let etcd: EtcdCluster;
let folder: string;
let servers: { api: ApiServer; operations: Operations; store: Store }[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-chaos-"));
  net = await Partitions.create(MEMBERS);
  etcd = await startEtcd(MEMBERS, net.places);
  const pki = await Pki.open(join(folder, "pki"));
  for (let i = 0; i < SERVERS; i++) {
    const store = await openEtcdStore({ endpoints: etcd.endpoints, root: "/chaos" });
    const operations = await Operations.open(store, KINDS);
    const api = await startApiServer({ service: operations, pki, host: "127.0.0.1", port: 0 });
    servers.push({ api, operations, store });
  }
  ensureAdminKubeconfig(pki, join(folder, "kubeconfig"), servers[0]?.api.url ?? "");
});
afterEach(async () => {
  for (const { api, operations, store } of servers) {
    await api.close();
    await operations.close();
    await store.close();
  }
  servers = [];
  await etcd.stop();
  await net.remove();
  rmSync(folder, { recursive: true, force: true });
});

const clientOf = (i: number) => connect(join(folder, "kubeconfig"), [servers[i % SERVERS]?.api.url ?? ""]);

it(`${ROUNDS} rounds lose nothing, double nothing, and leave no gap`, {
  timeout: 60_000 + ROUNDS * 15_000,
}, async () => {
  const random = new Random(SEED);
  const clients = new ChaosClients(random);
  for (let i = 0; i < 6; i++) clients.write(clientOf(i));
  for (let i = 0; i < 4; i++) clients.watch(clientOf(i));
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  /** Round without a single acknowledged write: then nothing was tested. */
  let idle = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const member = random.below(MEMBERS);
    const before = clients.acknowledged;
    const fault = ["kill", "pause", "cut"][round % 3];
    if (fault === "kill") {
      await etcd.kill(member);
      await pause(300 + random.below(1500));
      etcd.start(member);
    } else if (fault === "pause") {
      etcd.pause(member);
      await pause(300 + random.below(2500));
      etcd.resume(member);
    } else {
      await net.cut(member);
      await pause(300 + random.below(2500));
      await net.mend(member);
    }
    // A majority of the three must be well before the next one goes.
    await until(`member ${member} to come back`, 30_000, () =>
      etcd.healthy(member).then(
        () => true,
        () => undefined,
      ),
    );
    await until("a write to be acknowledged", 20_000, async () =>
      clients.acknowledged > before ? true : undefined,
    ).catch(() => idle++);
  }
  await clients.stop();
  const last = clientOf(1);
  for (const key of ["chaos-0", "chaos-1", "chaos-2", "chaos-3"]) await clients.read(last, key);
  last.close();
  const unknown = clients.operations.filter((o) => o.kind === "write" && o.outcome === "unknown").length;
  const counts = { acknowledged: clients.acknowledged, operations: clients.operations.length, unknown };
  process.stdout.write(
    `kill, pause, cut of one of three etcd members, ${ROUNDS} rounds: ${JSON.stringify(counts)}\n`,
  );
  expect(check(clients.operations, clients.watches)).toEqual([]);
  expect(clients.odd).toEqual([]);
  expect(idle).toBe(0);
});
