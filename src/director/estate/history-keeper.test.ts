/** A leader is killed, at any moment: the next one expects of machines what it did. On the real API over a real store. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { overriding, through } from "../../client/testing/overriding.ts";
import { openControlPlane, type TestControlPlane, until } from "../../compute/testing/control-plane.ts";
import { openEstate } from "../../compute/testing/estate.ts";
import { type Clock, systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { Plan } from "../planning/kinds.ts";
import { runPlanner } from "../planning/planner.ts";

import { UseHistory } from "./history.ts";
import { HistoryKeeper } from "./history-keeper.ts";
import { remembered, UsageHistory } from "./usage-history.ts";

const HOUR = 3_600_000;
const MINUTE = 60_000;
const WEEK = 168;
const START = Date.UTC(2026, 0, 1);
const machines = Array.from({ length: 24 }, (_, i) => `default/vm-${i}`);
/** Each is busy in some hours of the week, another one in others. */
const usual = (i: number, hour: number) =>
  ((hour % WEEK) * 7 + i * 13) % 24 < 3 ? 3 + i / 8 : 0.1 + i / 100;

const demandAt = (i: number, hour: number) => ({
  iops: 100 * usual(i + 5, hour),
  diskBytes: 1e7 * usual(i + 7, hour),
  networkBytes: 1e6 * usual(i + 9, hour),
  memoryBytes: 1e9 + i,
});

let plane: TestControlPlane;
let now: number;
const clock: Clock = { now: () => new Date(now), elapsed: () => now, sleep: () => Promise.resolve() };

beforeEach(async () => {
  plane = await openControlPlane();
  now = START;
});
afterEach(() => plane.close());

const open = (client = plane.client) => HistoryKeeper.open({ client, clock, log: silentLogger });
/** As agents have told it: what it is since the hour began. */
const tell = ({ history }: HistoryKeeper, of: readonly string[] = machines) => {
  const hour = Math.floor((now - START) / HOUR);
  for (const machine of of)
    history.observe(
      machine,
      START + hour * HOUR,
      usual(machines.indexOf(machine), hour),
      demandAt(machines.indexOf(machine), hour),
    );
};

/** Is told of so many hours, and has kept them all some minutes after the last. */
async function lead(keeper: HistoryKeeper, hours: number, of = machines): Promise<void> {
  for (let hour = 0; hour < hours; hour++, now += HOUR) tell(keeper, of);
  tell(keeper, of);
  while ((await keeper.look()) > 0) now += MINUTE;
}

function alike(one: HistoryKeeper, other: HistoryKeeper, ahead: number): void {
  for (const machine of machines) {
    const [is, was] = [other, one].map(({ history }) => history.useOf(machine, now + ahead * HOUR));
    expect(is?.cpus).toBe(was?.cpus);
    const off = (is?.expected ?? 0) / (was?.expected ?? 1);
    expect(Math.abs(off - 1), `${machine} in ${ahead} hours`).toBeLessThan(0.03);
    for (const name of ["iops", "diskBytes", "networkBytes", "memoryBytes"] as const) {
      const [known = 0, before = 1] = [is?.demand?.[name], was?.demand?.[name]];
      expect(Math.abs(known / before - 1), `${name} of ${machine} in ${ahead} hours`).toBeLessThan(0.03);
    }
  }
}

it("expects what the one before did, now and of every hour of the week, whenever that was killed", async () => {
  const first = await open();
  await lead(first, 2 * WEEK);
  const objects = (await plane.client.list(UsageHistory)).items.length;
  expect(objects).toBeGreaterThan(18);
  // It dies between two writes of what it keeps in the next hour.
  now += HOUR;
  tell(first);
  expect(await first.look()).toBe(16);
  now += 3 * MINUTE;
  tell(first);
  const next = await open();
  tell(next);
  for (let ahead = 0; ahead < WEEK; ahead++) alike(first, next, ahead);
  // And it goes on to keep the rest.
  let wrote = 0;
  for (let n = await next.look(); n > 0; n = await next.look()) wrote += n;
  expect(wrote).toBe(objects - 16);
});

it("one that was never leading before says nothing of machines that it has seen for less than five minutes", async () => {
  const keeper = await open();
  tell(keeper);
  now += MINUTE;
  expect(keeper.history.useOf("default/vm-0", now)).toBeUndefined();
});

it("after days in which nobody led the hours of the week are known, and the last while is not", async () => {
  const first = await open();
  await lead(first, 2 * WEEK);
  now += 3 * 24 * HOUR;
  const next = await open();
  tell(next);
  now += MINUTE;
  expect(next.history.useOf("default/vm-0", now)).toBeUndefined();
  now += 5 * MINUTE;
  const busy = Array.from({ length: WEEK }, (_, hour) =>
    next.history.useOf("default/vm-0", now + hour * HOUR),
  );
  expect(Math.max(...busy.map((use) => use?.expected ?? 0))).toBeGreaterThan(2.9);
});

it("forgets with the machines, mends what cannot be read, and leaves what another leader wrote later", async () => {
  const keeper = await open();
  await lead(keeper, 1);
  const objects = async () => (await plane.client.list(UsageHistory)).items;
  const before = (await objects()).length;
  keeper.history.forget((key) => key === "default/vm-0");
  await lead(keeper, 1, ["default/vm-0"]);
  const [left, ...others] = await objects();
  expect([before > 18, others]).toEqual([true, []]);
  const { name = "" } = left?.metadata ?? {};
  expect(left?.spec.machines).toMatchObject([{ machine: "default/vm-0", cpus: expect.any(Number) }]);

  const time = new Date(now + 1.9 * HOUR).toISOString();
  await plane.client.patch(UsageHistory, { name }, { spec: { time } });
  await lead(keeper, 1, ["default/vm-0"]);
  expect((await objects())[0]?.spec.time).toBe(time);

  const odd = {
    time: "2026-01-01T00:00:00Z",
    machines: [{ machine: "a", since: "soon", cpus: 1, mean: 1, deviation: 0 }],
  };
  expect(remembered({ spec: odd })).toEqual([]);
  const wrong = {
    since: "2025-01-01T00:00:00Z",
    machine: "a",
    cpus: 1,
    mean: 1,
    deviation: 0,
    hours: "AAAA",
  };
  expect(remembered({ spec: { ...odd, machines: [wrong] } })).toMatchObject([
    { machine: "a", of: { cpus: { mean: 1 } } },
  ]);
  expect(remembered({ spec: { ...odd, machines: [wrong] } })[0]?.of.cpus).not.toHaveProperty("hours");
  for (const senseless of [{ cpus: -5 }, { cpus: 1e300 }, { mean: 1e300 }, { deviation: -1 }])
    expect(remembered({ spec: { ...odd, machines: [{ ...wrong, ...senseless }] } })).toEqual([]);
});

it("keeps what it sees after a look while its clock was months ahead, and so does who leads next", async () => {
  const keeper = await open();
  await lead(keeper, WEEK + 1);
  const right = now;
  now += 90 * 24 * HOUR;
  while ((await keeper.look()) > 0);
  const times = async () =>
    (await plane.client.list(UsageHistory)).items.map(({ spec }) => Date.parse(spec.time));
  expect(Math.min(...(await times()))).toBe(now);
  // One that leads while they lie ahead, and the one that wrote them.
  for (const each of [await open(), keeper]) {
    now = right;
    await lead(each, 1);
    const written = await times();
    expect(written.filter((time) => time >= right && time <= now)).toHaveLength(written.length);
    for (const name of machines) expect(each.history.useOf(name, now)?.cpus).toBeGreaterThan(0);
    now = right + 90 * 24 * HOUR;
    while ((await each.look()) > 0);
  }
  // Weeks are as they were.
  const busy = (await plane.client.list(UsageHistory)).items.flatMap((object) =>
    remembered(object).map(({ of }) => Math.max(...(of.cpus.hours ?? []))),
  );
  const first = busy.length;
  expect([first, Math.min(...busy) > 7 * 15]).toEqual([machines.length, true]);
});

it("while the store does not answer nothing is written over, and what was kept is known afterwards", async () => {
  const first = await open();
  await lead(first, WEEK);
  let down = true;
  const client = through(plane.client, (call) =>
    down ? Promise.reject(new Error("the store does not answer")) : call(),
  );
  const next = await open(client);
  tell(next);
  await expect(next.look()).rejects.toThrow("does not answer");
  down = false;
  await next.look();
  now += 6 * MINUTE;
  alike(first, next, 30);
});

it("a new leader relieves a host before the hour in which it is too busy, as the one before would have", async () => {
  const estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  const names = ["one", "two", "three"];
  for (const name of names) await estate.runMachine(name, "a");
  now = Date.now();
  const of = {
    client: estate.client,
    clock: { ...systemClock, now: () => new Date(now) },
    log: silentLogger,
  };
  const first = await HistoryKeeper.open(of);
  now += HOUR;
  const busyIn = Math.floor(now / HOUR) + 1;
  for (let hour = busyIn - WEEK - 1; hour < busyIn - 1; hour++)
    for (const name of names)
      first.history.observe(`default/${name}`, hour * HOUR, hour === busyIn - WEEK ? 0.7 : 0.1);
  while ((await first.look()) > 0);
  /** Of a control plane that leads and has looked at the estate. */
  const plans = async (history: UseHistory) => {
    const stop = new AbortController();
    let looks = 0;
    const client = overriding(estate.client, {
      list: (kind, options) => {
        if (kind.kind === Plan.kind) looks++;
        return estate.client.list(kind, options);
      },
    });
    const running = runPlanner({ ...of, client, signal: stop.signal, history });
    // The informer's list, and that of the round, after which it plans.
    await until("a look at the estate", async () => looks > 1);
    stop.abort();
    await running;
    return (await estate.client.list(Plan)).items;
  };
  try {
    expect(await plans(new UseHistory())).toEqual([]);

    const [plan] = await plans((await HistoryKeeper.open(of)).history);
    expect(plan?.spec.moves).toMatchObject([{ from: "a", to: "b" }]);
  } finally {
    await estate.close();
  }
});
