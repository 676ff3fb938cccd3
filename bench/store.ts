/**
 * Durable writes a second of the stores, 64 writers at once, 1.5 KB values; etcd (one member, this machine) beside SQLite in the same run.
 *   node bench/store.ts [SECONDS]
 * Ends with 1 when SQLite makes less than 3,000 a second.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEtcdStore } from "../src/store/etcd.ts";
import { openSqliteStore } from "../src/store/sqlite.ts";
import type { Store } from "../src/store/store.ts";
import { startEtcd } from "../src/store/testing/etcd.ts";
import { count } from "./measure.ts";

const SECONDS = count(process.argv[2], 10, "SECONDS");
const WRITERS = 64;
/** Writes a second. */
const BAR = 3000;
const VALUE = "x".repeat(1500);

/** Each writer updates a key of its own by compare-and-swap, as fast as it is answered. */
async function measure(name: string, store: Store): Promise<number> {
  const times: number[] = [];
  const until = performance.now() + SECONDS * 1000;
  const writer = async (i: number) => {
    let expected = 0;
    while (performance.now() < until) {
      const begin = performance.now();
      ({ revision: expected } = await store.commit({ key: `bench/${i}`, value: VALUE, expected }));
      times.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, i) => writer(i)));
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(1);
  const rate = times.length / SECONDS;
  process.stdout.write(`${name}: ${Math.round(rate)} writes/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`);
  return rate;
}

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-"));
const etcd = await startEtcd(1, [], tmpdir());
try {
  const sqlite = await openSqliteStore(join(folder, "store.sqlite"));
  const own = await measure("SQLite", sqlite);
  await sqlite.close();
  const cluster = await openEtcdStore({ endpoints: etcd.endpoints, root: "/bench" });
  const theirs = await measure("etcd  ", cluster);
  await cluster.close();
  process.stdout.write(
    `SQLite to etcd: ${(own / theirs).toFixed(1)} : 1; the bar for SQLite is ${BAR} writes/s\n`,
  );
  if (!(own >= BAR)) process.exitCode = 1;
} finally {
  await etcd.stop();
  rmSync(folder, { recursive: true, force: true });
}
