import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { through } from "../client/testing/overriding.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { EventRecorder, runEventExpiry } from "./events.ts";
import { Event, Lease } from "./kinds.ts";
import { runAsLeader } from "./leader.ts";
import { silentLogger } from "./log.ts";
import { SteppedClock, settle } from "./testing/stepped-clock.ts";

let plane: TestControlPlane;
let clock: SteppedClock;
beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
});
afterEach(() => plane.close());

interface Candidate {
  identity: string;
  stop: AbortController;
  ended: Promise<void>;
  /** When it led: [from, to] in ms since the start. */
  terms: { from: number; to?: number }[];
  /** While true, its requests get no answer. */
  cutOff: boolean;
}

function candidate(identity: string): Candidate {
  const stop = new AbortController();
  const self: Candidate = { identity, stop, terms: [], cutOff: false, ended: Promise.resolve() };
  const client = through(plane.client, (call) => (self.cutOff ? new Promise(() => {}) : call()));
  const begin = clock.now().getTime();
  const options = { lease: "control-plane", identity, durationSeconds: 12, clock, log: silentLogger };
  self.ended = runAsLeader(client, { ...options, signal: stop.signal }, async (signal) => {
    const term: { from: number; to?: number } = { from: clock.now().getTime() - begin };
    self.terms.push(term);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    term.to = clock.now().getTime() - begin;
  });
  return self;
}

describe("runAsLeader", () => {
  it("lets one of two lead, and the other at once when the lease is given up", async () => {
    const [a, b] = [candidate("a"), candidate("b")];
    await clock.step(60_000);
    const leaders = [a, b].filter((c) => c.terms.length > 0);
    expect(leaders).toHaveLength(1);
    const [leader, other] = leaders[0] === a ? [a, b] : [b, a];
    leader.stop.abort();
    await leader.ended;
    expect((await plane.client.get(Lease, { name: "control-plane" }))?.spec.holder).toBe("");
    await clock.step(3000);
    expect(other.terms).toHaveLength(1);
    other.stop.abort();
    await other.ended;
  });

  it("ends the leadership of one whose requests hang before another may take over", async () => {
    const a = candidate("a");
    await clock.step(1000);
    expect(a.terms).toHaveLength(1);
    const b = candidate("b");
    await clock.step(20_000);
    expect(b.terms).toHaveLength(0);
    a.cutOff = true;
    await clock.step(40_000);
    const [lost, won] = [a.terms[0]?.to, b.terms[0]?.from];
    expect(lost).toBeDefined();
    expect(won).toBeDefined();
    // b began 1000 ms after a.
    expect((won ?? 0) + 1000 - (lost ?? 0)).toBeGreaterThanOrEqual(2000);
    b.stop.abort();
    a.stop.abort();
    await b.ended;
  });

  it("takes the lease of a dead one only after its duration by the own clock, whatever renewTime says", async () => {
    await plane.client.create(Lease, {
      metadata: { name: "control-plane" },
      spec: { holder: "dead", durationSeconds: 12, renewTime: "1990-01-01T00:00:00.000Z" },
    });
    const a = candidate("a");
    await clock.step(11_000);
    expect(a.terms).toHaveLength(0);
    await clock.step(4000);
    expect(a.terms).toHaveLength(1);
    a.stop.abort();
    await a.ended;
  });
});

describe("a clock that is put right", () => {
  it.each([
    ["back", -3_600_000],
    ["forward", 3_600_000],
  ])("by an hour, %s, neither ends a leadership nor keeps anybody from the next one", async (_, jump) => {
    const a = candidate("a");
    await clock.step(1000);
    const b = candidate("b");
    await clock.step(5000);
    expect([a.terms.length, b.terms.length]).toEqual([1, 0]);
    clock.jump(jump);
    await clock.step(30_000);
    expect([a.terms.length, b.terms.length]).toEqual([1, 0]);
    expect(a.terms[0]?.to).toBeUndefined();
    // Put right once more, after b has last seen it renewed.
    a.cutOff = true;
    clock.jump(jump);
    await clock.step(20_000);
    expect(a.terms[0]?.to).toBeDefined();
    expect(b.terms).toHaveLength(1);
    b.stop.abort();
    a.stop.abort();
    await b.ended;
  });
});

describe("EventRecorder", () => {
  it("raises count and lastTime of the same report, also of another process", async () => {
    const about = { kind: "VirtualMachine", name: "web", namespace: "default", uid: "u1" };
    for (let i = 0; i < 2; i++) {
      const recorder = new EventRecorder(plane.client, "test", silentLogger, clock, "host-1");
      recorder.record(about, "Normal", "Running", "runs on host-1");
      recorder.record(about, "Normal", "Running", "runs on host-1");
      recorder.record(about, "Warning", "Odd", `message ${i}`);
      await recorder.flushed();
      await clock.step(5000);
    }
    const { items } = await plane.client.list(Event);
    const seen = items.map(({ spec }) => `${spec.reason} ${spec.count}`).sort();
    expect(seen).toEqual(["Odd 1", "Odd 1", "Running 4"]);
    const running = items.find(({ spec }) => spec.reason === "Running")?.spec;
    expect(Date.parse(running?.lastTime ?? "") - Date.parse(running?.firstTime ?? "")).toBe(5000);
    expect(running?.host).toBe("host-1");
  });

  it("deletes what did not happen again for an hour", async () => {
    const recorder = new EventRecorder(plane.client, "test", silentLogger, clock);
    recorder.record({ kind: "Host", name: "h" }, "Normal", "Old", "x");
    await recorder.flushed();
    await clock.step(3_000_000);
    recorder.record({ kind: "Host", name: "h" }, "Normal", "New", "x");
    await recorder.flushed();
    const { items } = await plane.client.list(Event);
    for (const [name, lastTime] of [
      // As older versions let it in.
      ["never", "never"],
      ["ahead", "9999-12-31T23:59:59Z"],
    ] as const) {
      const [event] = items;
      const stored = { ...event, metadata: { ...event?.metadata, name }, spec: { ...event?.spec, lastTime } };
      const value = JSON.stringify(stored);
      await plane.store.commit({ key: `events/default/${name}`, expected: 0, value });
    }
    const stop = new AbortController();
    const ended = runEventExpiry({ client: plane.client, clock, log: silentLogger, signal: stop.signal });
    await clock.step(900_000);
    await settle(() => plane.idle());
    expect((await plane.client.list(Event)).items.map(({ spec }) => spec.reason)).toEqual(["New"]);
    stop.abort();
    await ended;
  });
});
