/**
 * The web UI over the largest estate: 40,000 machines on 2,500 hosts, which simulated agents run (bench/simulated-agents.ts: no guest runs), under the real
 * `vireo server` with all its reconcilers, and a real Chromium. How long until the table and the map can be used (from the navigation on, lists and all), how the map's
 * frames come while it is dragged and zoomed, what the page holds in memory, and how long the director takes to say why a machine is where it is and where a new
 * one would go; all of it while hosts beat, machines tell what they use, and plans move some.
 *   node web/bench/scale.ts [MACHINES] [HOSTS]
 *
 * The browser draws without a GPU here, on the cores that server and agents have: each figure is an upper bound. Ends with 1 when a bar is missed, and when
 * the estate was not alive meanwhile: nothing came of the machines, or each move failed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { count, cpuMs, median, pause, quantile, until } from "../../bench/measure.ts";
import { HEARTBEAT_S, inPages, refreshSeconds, storeEstate } from "../../bench/simulated-estate.ts";
import { ADMINS } from "../../src/api/pki.ts";
import { Tokens } from "../../src/api/tokens.ts";
import { connect } from "../../src/cli/connect.ts";
import { statePaths } from "../../src/cli/paths.ts";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { freePort } from "../../src/system/testing/free-port.ts";
import { launch, signIn, visit } from "../test/browser.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const RUNS = 3;
/** Frames come with the display, 60 a second; what is asked is that of 20 at most one is late. */
const BARS = { readyMs: 2000, frameMs: 17, memoryMiB: 300, answerMs: 1000 };
const ASKED = 5;

const MACHINES = count(process.argv[2], 40_000, "MACHINES");
const HOSTS = count(process.argv[3], 2500, "HOSTS");
const print = (line: string) => process.stdout.write(`${line}\n`);

/** What a process has for itself alone. */
const privateMiB = (pid: number): number =>
  [...readFileSync(`/proc/${pid}/smaps_rollup`, "utf8").matchAll(/^Private_\w+: +(\d+) kB/gm)].reduce(
    (sum, [, kib]) => sum + Number(kib) / 1024,
    0,
  );

const began = performance.now();
const paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-web-bench-")));
await storeEstate(paths.store, MACHINES, HOSTS);
const children: ChildProcess[] = [];
/** A process of ours, once it has said so. */
async function start(args: readonly string[], ready: RegExp): Promise<number> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => {
      said = `${said}${data}`.slice(-20_000);
    });
  await until(
    `${args[0]} to be ready`,
    () => {
      if (child.exitCode !== null) throw new Error(`${args[0]} has ended: ${said}`);
      return ready.test(said) || undefined;
    },
    { limitMs: 1_800_000, everyMs: 200 },
  );
  return child.pid ?? 0;
}
const browser = await launch();
let isMissed = false;
/** @returns the line's end: the bar, and whether it is kept */
const judge = (value: number, bar: number): string => {
  const isKept = value <= bar;
  isMissed ||= !isKept;
  return `(bar ${bar.toFixed(0)}${isKept ? "" : ": MISSED"})`;
};
const over = new AbortController();
try {
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const cli = join(ROOT, "src/cli/main.ts");
  const server = await start(
    [cli, "--state", paths.state, "server", "--listen", `:::${port}`],
    /server\.ready/,
  );
  const agents = await start(
    [join(ROOT, "bench/simulated-agents.ts"), paths.state, String(HOSTS)],
    /^ready$/m,
  );
  const client = connect(paths.kubeconfig);
  let moved = 0;
  const list = await until(
    "all machines to run and tell what they use",
    async () => {
      const fields = "&fields=status.phase,status.usage.time";
      const all = await inPages<VirtualMachine>(client, "virtualmachines", fields);
      // A machine that was moved meanwhile tells what it uses some time later, and some are being moved at any time.
      const gone = new Set((await client.list(Migration)).items.map(({ spec }) => spec.vm));
      moved = gone.size;
      const isUp = ({ metadata: { name }, status }: VirtualMachine) =>
        gone.has(name)
          ? status?.phase === "Running" || status?.phase === "Migrating"
          : status?.phase === "Running" && status.usage !== undefined;
      return all.items.every(isUp) ? all : undefined;
    },
    { limitMs: 1_200_000, everyMs: 5000 },
  );
  print(
    `simulated   ${MACHINES} machines, all of which run and tell what they use (of ${moved} that were moved meanwhile, not all yet), on ${HOSTS} hosts: stored and taken up in ${((performance.now() - began) / 1000).toFixed(0)} s; a heartbeat each ${HEARTBEAT_S} s, usage each ${refreshSeconds(HOSTS)} s; ${cpus().length} cores for server, agents and browser`,
  );
  /** What came of all machines since the beginning. */
  let updates = 0;
  let ended: string | undefined;
  (async () => {
    const { resourceVersion } = list;
    for await (const { type } of client.watch(VirtualMachine, { resourceVersion, signal: over.signal }))
      if (type !== "BOOKMARK") updates++;
    ended = "has ended";
  })().catch((error: unknown) => {
    ended = `has failed: ${error}`;
  });
  /** Cores that both take, and updates a second, since it was made. */
  const rates = () => {
    const [at, seen, cpuServer, cpuAgents] = [performance.now(), updates, cpuMs(server), cpuMs(agents)];
    return () => {
      const ms = performance.now() - at;
      const cores = (pid: number, before: number) => ((cpuMs(pid) - before) / ms).toFixed(2);
      const isAlive = updates > seen && ended === undefined;
      isMissed ||= !isAlive;
      const came = `${((1000 * (updates - seen)) / ms).toFixed(1)} updates of machines a second${isAlive ? "" : ` (MISSED: ${ended ? `their watch ${ended}` : "the estate is not alive"})`}`;
      return `${came}; server ${cores(server, cpuServer)} cores, agents ${cores(agents, cpuAgents)}`;
    };
  };
  const idle = rates();
  await pause(20_000);
  print(`before      ${idle()}, without the browser`);
  const { page, context } = await visit(browser, url);
  const token = new Tokens(join(paths.pki, "tokens.json")).addUser({ name: "bench", groups: [ADMINS] });
  await signIn(page, token);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  /** Processor time of the page's own thread, in ms. */
  const busyMs = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return 1000 * (metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN);
  };
  const timeTo = async (path: string, ready: string) => {
    const times: number[] = [];
    const pageMs: number[] = [];
    const serverMs: number[] = [];
    for (let i = 0; i <= RUNS; i++) {
      await page.goto("/images");
      await page.getByRole("heading", { name: "Images", exact: true }).waitFor();
      const [began, busy, cpu] = [performance.now(), await busyMs(), cpuMs(server)];
      await page.goto(path);
      await page.locator(ready).waitFor({ timeout: 120_000 });
      // The first fills the server's caches.
      if (i === 0) continue;
      times.push(performance.now() - began);
      pageMs.push((await busyMs()) - busy);
      serverMs.push(cpuMs(server) - cpu);
    }
    const [took, inPage, inServer] = [times, pageMs, serverMs].map((all) => median(all).toFixed(0));
    return `usable after ${took} ms, median of ${RUNS} ${judge(median(times), BARS.readyMs)}; processor time: page ${inPage} ms, server ${inServer} ms`;
  };
  print(
    `table       ${await timeTo("/machines", `table[aria-rowcount="${MACHINES + 1}"] tbody tr:nth-child(5)`)}`,
  );
  print(`map         ${await timeTo("/estate", ".map canvas[data-drawn]")}`);

  const streaming = rates();
  const box = await page.locator(".map canvas").boundingBox();
  if (!box) throw new Error("there is no map");
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  // In the page, so that no frame is overlooked: the times at which the browser was ready for the next one (what takes long on the page's own thread makes it
  // late), and how long the map took to draw each of its own.
  await page.evaluate(`(() => {
    window.frames = [];
    window.drawn = [];
    const look = (now) => { window.frames.push(now); requestAnimationFrame(look); };
    requestAnimationFrame(look);
    const canvas = document.querySelector(".map canvas");
    new MutationObserver(() => window.drawn.push(Number(canvas.dataset.frameMs)))
      .observe(canvas, { attributeFilter: ["data-frame-ms"] });
  })()`);
  await page.mouse.move(x, y);
  for (const zoom of [0, -60, -40]) {
    for (let i = 0; i < 20 && zoom; i++) await page.mouse.wheel(0, zoom);
    await page.mouse.down();
    for (let i = 0; i < 40; i++) await page.mouse.move(x + 6 * i, y + 3 * i);
    await page.mouse.up();
    await page.mouse.move(x, y);
  }
  const [times, drawn] = (await page.evaluate("[window.frames, window.drawn]")) as [number[], number[]];
  const frames = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  print(
    `frames      ${median(frames).toFixed(1)} ms apart, median of ${frames.length} while it was dragged and zoomed, p95 ${quantile(frames, 0.95).toFixed(1)} ms ${judge(quantile(frames, 0.95), BARS.frameMs)}`,
  );
  print(
    `drawing     ${median(drawn).toFixed(1)} ms of each frame, p95 ${quantile(drawn, 0.95).toFixed(1)} ms ${judge(quantile(drawn, 0.95), BARS.frameMs)}`,
  );
  print(`meanwhile   ${streaming()}`);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const whole = await browser.newBrowserCDPSession();
  const { processInfo } = await whole.send("SystemInfo.getProcessInfo");
  const ofPage = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => privateMiB(id));
  const mostMiB = Math.max(...ofPage, Number.NEGATIVE_INFINITY);
  print(
    `memory      ${mostMiB.toFixed(0)} MiB of the page's process on the map, ${(usedSize / 2 ** 20).toFixed(0)} MiB of it JavaScript's ${judge(mostMiB, BARS.memoryMiB)}`,
  );
  const asks = async (ask: (i: number) => Promise<unknown>) => {
    const times: number[] = [];
    for (let i = 0; i <= ASKED; i++) {
      // Longer than an answer's estate is kept.
      await pause(2500);
      const at = performance.now();
      await ask(i);
      if (i > 0) times.push(performance.now() - at);
    }
    return `${median(times).toFixed(0)} ms, median of ${ASKED} ${judge(median(times), BARS.answerMs)}`;
  };
  const vms = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
  const why = await asks((i) => client.raw("GET", `${vms}/vm-${String(i).padStart(5, "0")}/placement`));
  const preview = await asks((i) =>
    client.raw("POST", `${vms}/new-${i}/placement`, {
      apiVersion: "vireo.dev/v1",
      kind: "VirtualMachine",
      metadata: { name: `new-${i}`, namespace: "default", labels: { tier: `tier-${i % 8}` } },
      spec: { image: "db", memory: "2Gi" },
    }),
  );
  print(`director    why a machine is where it is: ${why}; where a new one would go: ${preview}`);
  const moves = (await client.list(Migration)).items;
  const phases = Map.groupBy(moves, ({ status }) => status?.phase ?? "Pending");
  const failed = moves.find(({ status }) => status?.phase === "Failed")?.status?.message;
  isMissed ||= moves.length > 0 && phases.get("Failed")?.length === moves.length;
  print(
    `moves       ${moves.length} by the director meanwhile${[...phases].map(([phase, of]) => `, ${of.length} ${phase}`).join("")}${failed ? ` (${failed})` : ""}`,
  );
  client.close();
} finally {
  over.abort();
  await browser.close();
  for (const child of children.reverse()) child.kill("SIGKILL");
  rmSync(paths.state, { recursive: true, force: true });
}
process.exitCode = isMissed ? 1 : 0;
