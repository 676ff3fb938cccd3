/**
 * Memory of a control plane (the real `vireo server`, SQLite) under 100,000 mixed requests: users' work, and among it everything that an
 * attacker or a broken client sends (garbage, deep and polluted bodies, path tricks, bodies too large, forged tokens, wrong certificates,
 * connections cut or dripping, names never used before). Every tenth part of it the server's heap is measured after a garbage collection.
 *   node bench/hostile.ts [REQUESTS] [SEED]
 *
 * It starts warm: after 60,000 requests of the same mix, which fill what is bounded (the feed of changes). Ends with 1 when the heap after all is
 * more than 10 MiB above that of the start, when connections are left, or when an answer was a 5xx other than 503.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { parse } from "yaml";
import { type Credentials, createCa, issue } from "../src/api/certificates.ts";
import { statePaths } from "../src/cli/paths.ts";
import { server } from "../src/cli/server.ts";
import { Random } from "../test/chaos/random.ts";

const [role, ...rest] = process.argv.slice(2);
const WARM_UP = 60_000;
const AT_ONCE = 24;
const DRIPPING = 20;
const MACHINES = 200;
const BAR_MIB = 10;
const MiB = 2 ** 20;

interface Memory {
  heapMiB: number;
  outsideMiB: number;
  residentMiB: number;
  connections: number;
}

// --- the server's process ---

if (role === "--server") {
  const [state = "", listen = ""] = rest;
  process.on("message", () => {
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const memory: Memory = {
      heapMiB: heapUsed / MiB,
      outsideMiB: external / MiB,
      residentMiB: rss / MiB,
      connections: process.getActiveResourcesInfo().filter((name) => /^TCPSocketWrap$/.test(name)).length,
    };
    process.send?.(memory);
  });
  await server(statePaths(state), { listen, follow: false });
}

// --- the clients ---

interface Sent {
  method: string;
  path: string;
  body?: string | Buffer;
  headers?: Record<string, string>;
  /** Instead of the administrator's. */
  token?: string;
}

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const JSON_TYPE = { "content-type": "application/json" };
const MERGE = { "content-type": "application/merge-patch+json" };
const TABLE = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" };
const machine = (name: string, cpus: number, more: object = {}) =>
  JSON.stringify({
    apiVersion: "vireo.dev/v1",
    kind: "VirtualMachine",
    metadata: { name, ...more },
    spec: { cpus, memory: "64Mi", image: "none", running: false },
  });

/** What users do, on machines whose number stays about the same. */
function work(random: Random): Sent {
  const name = `m${random.below(MACHINES)}`;
  const path = `${VMS}/${name}`;
  const cpus = 1 + random.below(8);
  const all: Sent[] = [
    { method: "GET", path },
    { method: "GET", path: `${VMS}?limit=50`, headers: TABLE },
    { method: "GET", path: `${VMS}?labelSelector=app%3Dweb` },
    { method: "POST", path: VMS, body: machine(name, cpus), headers: JSON_TYPE },
    { method: "PATCH", path, body: JSON.stringify({ spec: { cpus } }), headers: MERGE },
    {
      method: "PATCH",
      path: `${path}?fieldManager=bench&force=true`,
      body: machine(name, cpus, { labels: { app: random.pick(["web", "db"]) } }),
      headers: { "content-type": "application/apply-patch+yaml" },
    },
    { method: "GET", path: "/apis" },
    { method: "GET", path: "/readyz" },
  ];
  if (random.below(20) === 0) return { method: "DELETE", path };
  return random.pick(all) ?? { method: "GET", path };
}

const deep = (n: number) => `${"[".repeat(n)}${"]".repeat(n)}`;
const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** What others send. `unique`: never the same twice, as whatever is remembered by name would show. */
function attack(random: Random, unique: string): Sent {
  const path = `${VMS}/m${random.below(MACHINES)}`;
  const post = (body: string | Buffer, type = "application/json", query = ""): Sent => ({
    method: "POST",
    path: `${VMS}${query}`,
    body,
    headers: { "content-type": type },
  });
  const get = (at: string, headers: Record<string, string> = {}): Sent => ({
    method: "GET",
    path: at,
    headers,
  });
  const merge = (body: string, query = ""): Sent => ({
    method: "PATCH",
    path: `${path}${query}`,
    body,
    headers: MERGE,
  });
  const makers: (() => Sent)[] = [
    () => post(deep(50_000)),
    () => post(`${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`),
    () => post(`${"- ".repeat(5000)}x`, "application/yaml"),
    () => post(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])),
    () => post(`{"${unique}":`),
    () => post("k8s\0\xff\xff\xff\xff", "application/vnd.kubernetes.protobuf"),
    () => post(Buffer.alloc(4 * MiB, 0x20)),
    () => post("x", `text/${unique}`),
    () => post(machine(unique, 1, { [unique]: unique }), "application/json", "?fieldValidation=Strict"),
    () => post(machine(`UPPER-${unique}`, 1)),
    () => post(machine(unique, 1), "application/json", "?dryRun=All"),
    () => merge('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
    // Recorded in the object: as many writers as there are requests.
    () => merge(JSON.stringify({ metadata: { annotations: { last: unique } } }), `?fieldManager=${unique}`),
    () => merge(JSON.stringify({ metadata: { labels: { [unique]: "x".repeat(100) } } })),
    () => get(`${VMS}/%2e%2e/${unique}`),
    () => get(`${VMS}/${unique}`),
    () => get(`/apis/${unique}/v1/things`),
    () => get(`/openapi/v3/${unique}`),
    () => get(`${VMS}?labelSelector=${unique}%3D${unique}`),
    () => get(`${VMS}?fieldSelector=metadata.name%3D${unique}`),
    () => get(`${VMS}?fieldSelector=spec.${unique}%3D1`),
    () => get(`${VMS}?continue=${unique}&limit=1`),
    () => get(VMS, { accept: `application/${unique}` }),
    () => get(VMS, { "x-request-id": unique, "user-agent": unique }),
    () => get(VMS, { "impersonate-user": unique, "impersonate-group": unique }),
    () => get(`${VMS}?x=${"y".repeat(20_000)}`),
    () => ({ ...get(VMS), token: unique }),
    () => ({ ...get(VMS), token: `${encoded({ alg: "none" })}.${encoded({ sub: unique })}.` }),
    () => ({ ...post(machine("x", 1)), token: "" }),
    () => ({
      method: "POST",
      path: "/enroll",
      body: JSON.stringify({ token: unique, name: unique, csr: "x" }),
      token: "",
    }),
  ];
  return random.pick(makers)?.() ?? get(VMS);
}

class Clients {
  readonly codes = new Map<number | string, number>();
  readonly #agent: Agent;
  readonly #wrong: Credentials;
  readonly #base: { host: string; port: number; ca: string };
  readonly #token: string;
  readonly #random: Random;
  #done = 0;

  constructor(kubeconfig: string, port: number, wrong: Credentials, random: Random) {
    const config: unknown = parse(readFileSync(kubeconfig, "utf8"));
    const at = (...path: (string | number)[]): string => {
      let value: unknown = config;
      for (const key of path)
        value = typeof value === "object" && value !== null ? Reflect.get(value, key) : "";
      return String(value);
    };
    this.#token = at("users", 0, "user", "token");
    const ca = Buffer.from(at("clusters", 0, "cluster", "certificate-authority-data"), "base64").toString();
    this.#base = { host: "127.0.0.1", port, ca };
    this.#agent = new Agent({ ca, keepAlive: true, maxSockets: AT_ONCE });
    this.#wrong = wrong;
    this.#random = random;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** So many more, some at a time. */
  async run(count: number): Promise<void> {
    const until = this.#done + count;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (this.#done < until) await this.#one(this.#done++);
      }),
    );
  }

  async #one(i: number): Promise<void> {
    const unique = `u${i}x${this.#random.below(1e9)}`;
    const kind = this.#random.below(100);
    if (kind < 2) return this.#note("cut", this.#cut());
    if (kind < 4) return this.#note("watch", this.#watch());
    if (kind < 5)
      return this.#note(
        "wrong certificate",
        this.#send({ method: "GET", path: VMS, token: "" }, this.#wrong),
      );
    const sent = kind < 60 ? work(this.#random) : attack(this.#random, unique);
    return this.#note("", this.#send(sent));
  }

  async #note(what: string, code: Promise<number | string>): Promise<void> {
    const got = await code.catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    const key = what === "" ? got : `${what}: ${got}`;
    this.codes.set(key, (this.codes.get(key) ?? 0) + 1);
  }

  #send(
    { method, path, body, headers, token = this.#token }: Sent,
    certificate?: Credentials,
  ): Promise<number> {
    return new Promise((resolve, reject) => {
      const sent = request({
        ...this.#base,
        ...certificate,
        agent: certificate ? false : this.#agent,
        method,
        path,
        headers: {
          ...headers,
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
        },
      });
      sent.on("response", (answer) => {
        answer.on("end", () => resolve(answer.statusCode ?? 0)).on("error", reject);
        answer.resume();
      });
      sent.on("error", reject);
      // Without an answer it is one that the bars know of, not the end of the run.
      sent.setTimeout(30_000, () => sent.destroy(new Error("no answer")));
      sent.end(body);
    });
  }

  /** Takes away the events about the machines: they are stored for an hour, which is no leak. */
  async dropEvents(): Promise<void> {
    await this.#send({ method: "DELETE", path: "/apis/vireo.dev/v1/namespaces/default/events" });
  }

  /** Ends its connection within the body. */
  #cut(): Promise<string> {
    return new Promise((resolve) => {
      const sent = request({
        ...this.#base,
        agent: false,
        method: "POST",
        path: VMS,
        headers: { ...JSON_TYPE, authorization: `Bearer ${this.#token}`, "content-length": 1000 },
      });
      sent.on("error", () => {}).on("close", () => resolve("done"));
      sent.write(`{"kind": "`, () => sent.destroy());
    });
  }

  /** Begins a watch of everything, and goes away. */
  #watch(): Promise<number> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${this.#token}` };
      request({ ...this.#base, agent: false, path: `${VMS}?watch=1`, headers })
        .on("response", (answer) => {
          answer.on("error", () => {}).once("data", () => answer.destroy());
          answer.on("close", () => resolve(answer.statusCode ?? 0));
        })
        .on("error", reject)
        .end();
    });
  }

  /** Keeps up some connections on which headers come one letter at a time, until the signal. */
  drip(signal: AbortSignal): void {
    for (let i = 0; i < DRIPPING; i++) {
      const begin = () => {
        if (signal.aborted) return;
        const { port, ca } = this.#base;
        const socket = connectTls({ host: "127.0.0.1", port, ca });
        const timer = setInterval(() => socket.writable && socket.write("a"), 500);
        socket.on("error", () => {}).resume();
        socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\nX-Slow: "));
        socket.once("close", () => {
          clearInterval(timer);
          this.codes.set("dripping: cut off", (this.codes.get("dripping: cut off") ?? 0) + 1);
          begin();
        });
        signal.addEventListener("abort", () => socket.destroy(), { once: true });
      };
      begin();
    }
  }
}

async function measure(child: ChildProcess): Promise<Memory> {
  child.send("measure");
  const [memory]: Memory[] = await once(child, "message");
  if (!memory) throw new Error("the server did not answer");
  return memory;
}

async function main(requests: number, seed: number): Promise<void> {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  const state = mkdtempSync(join(tmpdir(), "vireo-bench-"));
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const address = free.address();
  const port = typeof address === "object" && address ? address.port : 0;
  await new Promise((done) => free.close(done));
  const child = fork(import.meta.filename, ["--server", state, `127.0.0.1:${port}`], {
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const stop = new AbortController();
  try {
    const { kubeconfig } = statePaths(state);
    while (!existsSync(kubeconfig)) {
      if (child.exitCode !== null) throw new Error("the server ended at its start");
      await sleep(50);
    }
    const stranger = await createCa("stranger");
    const subject = { commonName: "admin", organizations: ["system:masters"] };
    const wrong = await issue(stranger, { subject, names: [], usage: ["client"], days: 1 });
    const clients = new Clients(kubeconfig, port, wrong, new Random(seed));
    clients.drip(stop.signal);
    await clients.run(WARM_UP);
    await clients.dropEvents();
    const line = (done: number, m: Memory, seconds: number, count: number) =>
      print(
        `${String(done).padStart(7)} requests: heap ${m.heapMiB.toFixed(1)} MiB after gc, outside ${m.outsideMiB.toFixed(1)}, resident ${m.residentMiB.toFixed(0)}, ${m.connections} connections${seconds > 0 ? `, ${(count / seconds).toFixed(0)} requests/s` : ""}`,
      );
    const first = await measure(child);
    clients.codes.clear();
    line(0, first, 0, 0);
    const part = Math.ceil(requests / 10);
    let last = first;
    for (let i = 1; i <= 10; i++) {
      const begin = performance.now();
      await clients.run(part);
      const seconds = (performance.now() - begin) / 1000;
      await clients.dropEvents();
      last = await measure(child);
      line(i * part, last, seconds, part);
    }
    const codes = [...clients.codes].sort(([a], [b]) => String(a).localeCompare(String(b)));
    print(`answers: ${codes.map(([code, count]) => `${code} ${count}`).join(", ")}`);
    stop.abort();
    clients.close();
    let left = await measure(child);
    for (let waited = 0; left.connections > 0 && waited < 20_000; waited += 200) {
      await sleep(200);
      left = await measure(child);
    }
    print(`when all have gone: heap ${left.heapMiB.toFixed(1)} MiB, ${left.connections} connections`);
    const missed = [
      last.heapMiB > first.heapMiB + BAR_MIB && `the heap has grown by more than ${BAR_MIB} MiB`,
      left.connections > 0 && "connections are left",
      clients.codes.has("no answer") && "requests without an answer",
      codes.some(([code]) => Number(code) >= 500 && code !== 503) && "a 5xx other than 503",
      child.exitCode !== null && "the server has ended",
    ].filter((text) => text !== false);
    print(missed.length ? `missed: ${missed.join("; ")}` : "all bars are met");
    if (missed.length) process.exitCode = 1;
  } finally {
    stop.abort();
    child.kill("SIGKILL");
    rmSync(state, { recursive: true, force: true });
  }
}

if (role !== "--server") await main(Number(role ?? 100_000), Number(rest[0] ?? 1));
