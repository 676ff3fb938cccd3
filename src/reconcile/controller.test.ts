import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";
import { Controller, type ControllerOptions } from "./controller.ts";
import { createLogger, silentLogger } from "./log.ts";
import { SteppedClock, settle } from "./testing/stepped-clock.ts";

function make(
  reconcile: (key: string) => Promise<{ requeueAfterMs?: number } | undefined>,
  options: Pick<ControllerOptions, "workers" | "rest"> & Partial<Pick<ControllerOptions, "log">> = {},
) {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const controller = new Controller({
    name: "test",
    reconcile,
    log: silentLogger,
    ...options,
    clock,
    backoff: { baseMs: 100, maxMs: 1000 },
  });
  return { clock, controller, stop, ended: controller.run(stop.signal) };
}

/** A reconcile whose runs the test ends one by one. */
function gated() {
  const open: { key: string; end: () => void; fail: (e: Error) => void }[] = [];
  const started: string[] = [];
  const reconcile = (key: string) => {
    started.push(key);
    return new Promise<undefined>((resolve, reject) => {
      open.push({ key, end: () => resolve(undefined), fail: reject });
    });
  };
  return { open, started, reconcile };
}

describe("Controller", () => {
  it("never works on one key twice at once, and again when it was nudged meanwhile", async () => {
    const { open, started, reconcile } = gated();
    const { controller, stop, ended } = make(reconcile);
    controller.enqueue("a");
    controller.enqueue("a");
    controller.enqueue("b");
    await settle();
    expect(started).toEqual(["a", "b"]);
    for (let i = 0; i < 5; i++) controller.enqueue("a");
    await settle();
    expect(started).toEqual(["a", "b"]);
    open[0]?.end();
    await settle();
    expect(started).toEqual(["a", "b", "a"]);
    open[1]?.end();
    open[2]?.end();
    await settle();
    expect(started).toHaveLength(3);
    stop.abort();
    await ended;
  });

  it("works when its time has come, also when the clock is put right meanwhile", async () => {
    const { open, started, reconcile } = gated();
    const { clock, controller, stop, ended } = make(reconcile);
    controller.enqueue("a", 60_000);
    clock.jump(3_600_000);
    controller.enqueue("a", 1000);
    await clock.step(1000);
    expect(started).toEqual(["a"]);
    stop.abort();
    for (const run of open) run.end();
    await ended;
  });

  it("works on no more keys at once than it has workers, in order", async () => {
    const { open, started, reconcile } = gated();
    const { controller, stop, ended } = make(reconcile, { workers: 2 });
    for (const key of ["a", "b", "c", "d"]) controller.enqueue(key);
    await settle();
    expect(started).toEqual(["a", "b"]);
    open[1]?.end();
    await settle();
    expect(started).toEqual(["a", "b", "c"]);
    stop.abort();
    for (const run of open) run.end();
    await ended;
    expect(started).toHaveLength(3);
  });

  it("brings a failing key back with growing back-off, without holding up others", async () => {
    let failing = true;
    const at: number[] = [];
    const { clock, controller, stop, ended } = make(async (key) => {
      if (key === "good") return undefined;
      at.push(clock.now().getTime());
      if (failing) throw new Error("odd");
      return undefined;
    });
    controller.enqueue("bad");
    for (let i = 0; i < 50 && at.length < 6; i++) await clock.step(100);
    const waits = at.slice(1).map((t, i) => t - (at[i] ?? 0));
    for (const [i, wait] of waits.entries()) {
      const full = Math.min(1000, 100 * 2 ** i);
      expect(wait).toBeGreaterThanOrEqual(full / 2);
      expect(wait).toBeLessThanOrEqual(full);
    }
    failing = false;
    await clock.step(2000);
    const count = at.length;
    await clock.step(10_000);
    expect(at).toHaveLength(count);
    stop.abort();
    await ended;
  });

  it("says what goes on failing for the same reason every ten minutes, and another reason soon", async () => {
    const lines: string[] = [];
    const log = createLogger("test", (line) => {
      const { level, key, error, failures } = JSON.parse(line);
      lines.push(`${level} ${key} ${error} ${failures}`);
    });
    let why = "no answer";
    const reconcile = async () => {
      throw new Error(why);
    };
    const { clock, controller, stop, ended } = make(reconcile, { log });
    controller.enqueue("a");
    await clock.step(590_000);
    expect(lines).toEqual(["info a no answer 1", "warn a no answer 2"]);
    await clock.step(20_000);
    expect(lines).toEqual([...lines.slice(0, 2), expect.stringMatching(/^warn a no answer [6-9]\d\d/)]);
    why = "no room";
    await clock.step(60_000);
    expect(lines.slice(3)).toEqual([expect.stringMatching(/^warn a no room/)]);
    stop.abort();
    await ended;
  });

  it("calls again after requeueAfterMs; of several delays the earliest counts", async () => {
    const at: number[] = [];
    const { clock, controller, stop, ended } = make(async () => {
      at.push(clock.now().getTime());
      return at.length < 2 ? { requeueAfterMs: 500 } : undefined;
    });
    const start = clock.now().getTime();
    controller.enqueue("a", 300);
    controller.enqueue("a", 200);
    controller.enqueue("a", 400);
    await clock.step(5000);
    expect(at.map((t) => t - start)).toEqual([200, 700]);
    stop.abort();
    await ended;
    controller.enqueue("a");
    await settle();
    expect(at).toHaveLength(2);
  });

  it("rests after work that took long, and then goes on", async () => {
    const { open, started, reconcile } = gated();
    const { clock, controller, stop, ended } = make(reconcile, { workers: 1, rest: 3 });
    for (const key of ["a", "b", "c"]) controller.enqueue(key);
    await clock.step(200);
    open[0]?.end();
    await settle();
    // That was not long.
    expect(started).toEqual(["a", "b"]);
    await clock.step(1000);
    open[1]?.end();
    await clock.step(2900);
    controller.enqueue("d");
    expect(started).toEqual(["a", "b"]);
    await clock.step(200);
    expect(started).toEqual(["a", "b", "c"]);
    open[2]?.end();
    await settle();
    open[3]?.end();
    stop.abort();
    await ended;
    expect(started).toEqual(["a", "b", "c", "d"]);
  });
});

describe("backoffMs", () => {
  it("doubles up to the most, with jitter", () => {
    const at = (failures: number, random: number) =>
      backoffMs(failures, { baseMs: 100, maxMs: 1000, random: () => random });
    expect([0, 1, 2, 10, 1000].map((n) => at(n, 1))).toEqual([100, 200, 400, 1000, 1000]);
    expect([0, 1, 2, 10].map((n) => at(n, 0))).toEqual([50, 100, 200, 500]);
  });
});
