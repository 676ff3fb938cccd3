/**
 * One control plane (the real `vireo server`, SQLite) with a whole data center in it: 40,000 machines (declared, stopped) on 2,500 hosts, 200
 * watchers of all machines. For SECONDS it is asked 500 times a second for one machine, while 250 heartbeats a second come in
 * and 5 machines a second change.
 *   node bench/scale.ts [SECONDS]
 *
 * Requests are sent when they are due, whether or not earlier ones were answered, so that waiting counts. Everything runs on this machine:
 * the asking and watching processes take their share of its cores, too. Ends with 1 when a bar is missed.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connect } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import type { HttpClient } from "../src/client/http.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Lease } from "../src/reconcile/kinds.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { cpuMs } from "./measure.ts";

const MACHINES = 40_000;
const HOSTS = 2500;
const WATCHERS = 200;
const READS_PER_SECOND = 500;
const HEARTBEATS_PER_SECOND = 250;
const CHANGES_PER_SECOND = 5;
const PAGE = 500;

const nowMs = () => performance.timeOrigin + performance.now();
const vmName = (i: number) => `vm-${String(i).padStart(5, "0")}`;
const at = (i: number) => ({ name: vmName(i), namespace: "default" });
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Its own process, as watchers are: tells when the last of them has seen each change. */
async function watchers(kubeconfig: string, resourceVersion: string): Promise<void> {
  const clients = Array.from({ length: WATCHERS }, () => connect(kubeconfig));
  const seen = new Map<string, number>();
  await Promise.all(
    clients.map(async (client) => {
      for await (const event of client.watch(VirtualMachine, { resourceVersion })) {
        const mark = event.type === "MODIFIED" ? event.object.metadata.labels?.mark : undefined;
        if (mark === undefined) continue;
        const count = (seen.get(mark) ?? 0) + 1;
        seen.set(mark, count);
        if (count === WATCHERS) process.send?.({ mark, atMs: nowMs() });
      }
    }),
  );
}

const [role, ...rest] = process.argv.slice(2);
if (role === "--watchers") {
  const [kubeconfig = "", resourceVersion = ""] = rest;
  await watchers(kubeconfig, resourceVersion);
}

class Times {
  readonly #ms: number[] = [];
  failed = 0;
  add(ms: number): void {
    this.#ms.push(ms);
  }
  get count(): number {
    return this.#ms.length;
  }
  at(share: number): number {
    this.#ms.sort((a, b) => a - b);
    return this.#ms[Math.min(this.#ms.length - 1, Math.floor(this.#ms.length * share))] ?? Number.NaN;
  }
  line(): string {
    const figures = [0.5, 0.99, 1].map((share) => this.at(share).toFixed(1));
    return `${this.count} answered, ${this.failed} failed, p50 ${figures[0]} ms, p99 ${figures[1]} ms, max ${figures[2]} ms`;
  }
}

/** `each(i)` at a steady rate; the time of each counts from when it was due. */
async function steady(
  perSecond: number,
  seconds: number,
  each: (i: number) => Promise<unknown>,
): Promise<Times> {
  const times = new Times();
  const begin = performance.now();
  const running = new Set<Promise<void>>();
  for (let i = 0; i < perSecond * seconds; i++) {
    const due = begin + (i * 1000) / perSecond;
    if (due > performance.now()) await sleep(due - performance.now());
    const one: Promise<void> = each(i)
      .then(
        () => times.add(performance.now() - due),
        () => void times.failed++,
      )
      .finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
  return times;
}

/** All of them, some at a time. */
async function fill(count: number, make: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (next < count) await make(next++);
    }),
  );
}

const memoryMiB = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
async function listAll(client: HttpClient): Promise<number> {
  let next = "";
  let found = 0;
  do {
    const query = `limit=${PAGE}${next && `&continue=${encodeURIComponent(next)}`}`;
    const page = await client.raw("GET", `/apis/vireo.dev/v1/virtualmachines?${query}`);
    if (typeof page !== "object" || page === null) throw new Error("not a list");
    const [items, metadata] = [Reflect.get(page, "items"), Reflect.get(page, "metadata")];
    found += Array.isArray(items) ? items.length : 0;
    next = String(Reflect.get(metadata, "continue") ?? "");
  } while (next);
  return found;
}

async function main(seconds: number): Promise<void> {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  const paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-bench-")));
  const main = resolve(import.meta.dirname, "../src/cli/main.ts");
  const server = spawn(
    process.execPath,
    [main, "--state", paths.state, "server", "--listen", `127.0.0.1:${await freePort()}`],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const pid = server.pid ?? 0;
  const log: string[] = [];
  server.stderr.on("data", (data) => log.push(String(data)));
  let watching: ChildProcess | undefined;
  try {
    while (!log.join("").includes("server.ready")) await sleep(50);
    const client = connect(paths.kubeconfig);
    let begin = performance.now();
    await fill(HOSTS, async (i) => {
      await client.create(Host, { metadata: { name: `host-${i}` }, spec: {} });
      const spec = { holder: `host-${i}`, durationSeconds: 3600, renewTime: new Date().toISOString() };
      await client.create(Lease, { metadata: { name: `host-host-${i}` }, spec });
    });
    await fill(MACHINES, (i) =>
      client.create(VirtualMachine, {
        metadata: { ...at(i), labels: { app: `app-${i % 400}`, tier: i % 2 ? "web" : "db" } },
        spec: { memory: "2Gi", image: "web", running: false },
      }),
    );
    print(
      `stored      ${MACHINES} machines, ${HOSTS} hosts and leases in ${((performance.now() - begin) / 1000).toFixed(1)} s, ${cpus().length} cores`,
    );

    // The reconcilers look at every machine once; only then is it an estate that stands.
    const isNew = async () =>
      (await client.list(VirtualMachine)).items.some(({ status }) => status?.phase === undefined);
    while (await isNew()) await sleep(1000);
    print(`reconciled  after ${((performance.now() - begin) / 1000).toFixed(1)} s in all`);

    begin = performance.now();
    const found = await listAll(client);
    const listMs = performance.now() - begin;
    print(`list        ${found} machines in pages of ${PAGE}: ${listMs.toFixed(0)} ms (bar 2000)`);

    const { resourceVersion } = await client.list(VirtualMachine, { labelSelector: "app=none" });
    watching = fork(import.meta.filename, ["--watchers", paths.kubeconfig, resourceVersion]);
    const sent = new Map<string, number>();
    let reached = new Times();
    watching.on("message", ({ mark, atMs }: { mark: string; atMs: number }) => {
      reached.add(atMs - (sent.get(mark) ?? Number.NaN));
      sent.delete(mark);
    });
    const mark = async (i: number, name: string) => {
      sent.set(name, nowMs());
      await client.patch(VirtualMachine, at(i % MACHINES), { metadata: { labels: { mark: name } } });
    };
    // The watches stand once a change has come through all of them.
    for (let i = 0; reached.count === 0; i++) {
      await mark(i, `first-${i}`);
      await sleep(500);
    }
    await sleep(2000);
    sent.clear();
    reached = new Times();
    const cpuBefore = cpuMs(pid);
    let peakMiB = memoryMiB(pid);
    const looking = setInterval(() => {
      peakMiB = Math.max(peakMiB, memoryMiB(pid));
    }, 500);

    const [reads, beats, changes] = await Promise.all([
      steady(READS_PER_SECOND, seconds, () =>
        client.get(VirtualMachine, at(Math.floor(Math.random() * MACHINES))),
      ),
      steady(HEARTBEATS_PER_SECOND, seconds, (i) =>
        client.patch(
          Lease,
          { name: `host-host-${i % HOSTS}` },
          { spec: { renewTime: new Date().toISOString() } },
        ),
      ),
      steady(CHANGES_PER_SECOND, seconds, (i) => mark(i * 7919, `change-${i}`)),
    ]);
    for (let waited = 0; sent.size > 0 && waited < 5000; waited += 50) await sleep(50);
    clearInterval(looking);
    const cores = (cpuMs(pid) - cpuBefore) / 1000 / seconds;
    print(`reads       ${reads.line()} (bar p99 10 ms)`);
    print(`heartbeats  ${beats.line()}`);
    print(`changes     ${changes.line()}`);
    print(`all ${WATCHERS} watchers have it: ${reached.line()}, ${sent.size} never (bar p99 100 ms)`);
    print(`server      ${cores.toFixed(2)} cores, ${peakMiB.toFixed(0)} MiB at most (bar 1536)`);
    const missed = [
      !(listMs <= 2000) && "list",
      !(reads.at(0.99) < 10) && "reads",
      !(reached.at(0.99) < 100) && "watchers",
      !(peakMiB <= 1536) && "memory",
      (sent.size > 0 || reads.failed > 0 || beats.failed > 0) && "lost",
    ].filter((name) => name !== false);
    print(missed.length ? `missed: ${missed.join(", ")}` : "all bars are met");
    if (missed.length) process.exitCode = 1;
  } finally {
    watching?.kill();
    server.kill("SIGKILL");
    rmSync(paths.state, { recursive: true, force: true });
  }
}

if (role !== "--watchers") await main(Number(role ?? 30));
