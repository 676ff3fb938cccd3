/**
 * The web UI over the largest estate: 40,000 machines on 2,500 hosts, written straight into the store of a real API server, no reconcilers, and a real
 * Chromium. How long until the table and the map can be used (from the navigation on, lists and all), how long the map's frames take while
 * it is dragged and zoomed, and what the page holds in memory.
 *   node web/bench/scale.ts [MACHINES] [HOSTS]
 *
 * The browser draws without a GPU here: its frames are an upper bound. Ends with 1 when a bar is missed.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { count, median, quantile } from "../../bench/measure.ts";
import { Operations } from "../../src/api/operations.ts";
import { ADMINS, Pki } from "../../src/api/pki.ts";
import { startApiServer } from "../../src/api/server.ts";
import { Sessions } from "../../src/api/sessions.ts";
import { Ui } from "../../src/api/ui.ts";
import { WEB_UI } from "../../src/cli/web-ui.ts";
import { KINDS } from "../../src/kinds.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { FACTS } from "../../test/chaos/estate.ts";
import { launch, signIn, visit } from "../test/browser.ts";

const RUNS = 3;
const BARS = { readyMs: 2000, frameMs: 1000 / 60, heapMiB: 300 };

const MACHINES = count(process.argv[2], 40_000, "MACHINES");
const HOSTS = count(process.argv[3], 2500, "HOSTS");
const print = (line: string) => process.stdout.write(`${line}\n`);

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
    creationTimestamp: "2026-01-01T00:00:00Z",
    ...("labels" in rest ? { labels: rest.labels } : {}),
  },
  ...Object.fromEntries(Object.entries(rest).filter(([key]) => key !== "labels")),
});

function* objects(): Generator<[key: string, object: object]> {
  for (let i = 0; i < HOSTS; i++) {
    const name = `host-${i}`;
    const conditions = [
      {
        type: "Ready",
        status: "True",
        reason: "Heard",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
      },
    ];
    yield [
      `hosts/${name}`,
      object("Host", "v1", name, undefined, {
        spec: { site: `site-${i % 4}`, rack: `rack-${i % 80}` },
        status: { capacity: { cpus: 64, memory: "256Gi" }, facts: FACTS, conditions },
      }),
    ];
  }
  for (let i = 0; i < MACHINES; i++) {
    const name = `vm-${String(i).padStart(5, "0")}`;
    yield [
      `virtualmachines/default/${name}`,
      object("VirtualMachine", "v1", name, "default", {
        labels: { tier: `tier-${i % 8}` },
        spec: {
          running: true,
          cpus: 1 + (i % 4),
          memory: `${2 + 2 * (i % 6)}Gi`,
          image: "web",
          storagePool: "default",
          networks: ["default"],
          restart: "OnFailure",
        },
        status: { phase: "Running", host: `host-${i % HOSTS}`, sequence: 1 },
      }),
    ];
  }
  for (let i = 0; i < 8; i++)
    yield [
      `policies/default/tier-${i}`,
      object("Policy", "v2", `tier-${i}`, "default", {
        spec: {
          selector: { matchLabels: { tier: `tier-${i}` } },
          goal: "balanced",
          automation: "act",
          priority: 0,
        },
      }),
    ];
}

const folder = mkdtempSync(join(tmpdir(), "vireo-web-bench-"));
const store = await openSqliteStore(join(folder, "store.sqlite"));
let commits: Promise<unknown>[] = [];
for (const [key, value] of objects()) {
  commits.push(store.commit({ key, value: JSON.stringify(value), expected: 0 }));
  if (commits.length >= 2000) {
    await Promise.all(commits);
    commits = [];
  }
}
await Promise.all(commits);
const service = await Operations.open(store, KINDS);
const pki = await Pki.open(join(folder, "pki"));
const server = await startApiServer({
  service,
  pki,
  host: "127.0.0.1",
  port: 0,
  sessions: new Sessions(store),
  ui: new Ui(WEB_UI),
});
const browser = await launch();
let isMissed = false;
/** @returns the line's end: the bar, and whether it is kept */
const judge = (value: number, bar: number): string => {
  const isKept = value <= bar;
  isMissed ||= !isKept;
  return `(bar ${bar.toFixed(0)}${isKept ? "" : ": MISSED"})`;
};
try {
  if (service.invalid.length > 0)
    throw new Error(`${service.invalid.length} objects are not as their kinds want them`);
  print(`${MACHINES} machines, ${HOSTS} hosts; ${cpus().length} cores, shared by server and browser`);
  const { page, context } = await visit(browser, server.url);
  await signIn(page, pki.tokens.addUser({ name: "bench", groups: [ADMINS] }));
  const timeTo = async (path: string, ready: string): Promise<number[]> => {
    const times: number[] = [];
    for (let i = 0; i <= RUNS; i++) {
      await page.goto("/images");
      await page.getByRole("heading", { name: "Images", exact: true }).waitFor();
      const began = performance.now();
      await page.goto(path);
      await page.waitForFunction(ready, undefined, { polling: 20, timeout: 120_000 });
      if (i > 0) times.push(performance.now() - began);
    }
    return times;
  };
  const table = await timeTo(
    "/machines",
    `document.querySelector("table")?.getAttribute("aria-rowcount") === "${MACHINES + 1}"`,
  );
  print(
    `table       usable after ${median(table).toFixed(0)} ms, median of ${RUNS} ${judge(median(table), BARS.readyMs)}`,
  );
  const map = await timeTo("/estate", `document.querySelector(".map canvas")?.dataset.frames > 0`);
  print(
    `map         usable after ${median(map).toFixed(0)} ms, median of ${RUNS} ${judge(median(map), BARS.readyMs)}`,
  );

  const box = await page.locator(".map canvas").boundingBox();
  if (!box) throw new Error("there is no map");
  const frames: number[] = [];
  for (const zoom of [0, -1200, -800]) {
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    if (zoom) await page.mouse.wheel(0, zoom);
    await page.mouse.down();
    for (let i = 0; i < 40; i++) {
      await page.mouse.move(box.x + box.width / 2 + 6 * i, box.y + box.height / 2 + 3 * i);
      frames.push(Number(await page.locator(".map canvas").getAttribute("data-frame-ms")));
    }
    await page.mouse.up();
  }
  print(
    `frames      ${median(frames).toFixed(1)} ms to draw, median of ${frames.length}, p90 ${quantile(frames, 0.9).toFixed(1)} ms ${judge(quantile(frames, 0.9), BARS.frameMs)}`,
  );
  const session = await context.newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  print(
    `memory      ${(usedSize / 2 ** 20).toFixed(0)} MiB of JavaScript on the map ${judge(usedSize / 2 ** 20, BARS.heapMiB)}`,
  );
} finally {
  await browser.close();
  await server.close();
  service.close();
  await store.close();
  rmSync(folder, { recursive: true });
}
process.exitCode = isMissed ? 1 : 0;
