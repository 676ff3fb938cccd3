/**
 * Rules 1, 3, 4 and 7 under kill -9: seeded runs of the real reconcilers, the real agents and the real store file over a
 * pretended hypervisor. A seed chooses what users ask for, which machines crash, and when which component is killed. In the end
 * everything must be as asked for, and at no moment may two machines have had one disk open for writing.
 *
 * One seed again: VIREO_CHAOS_SEED=17 vireo test test/chaos; more of them: VIREO_CHAOS_RUNS=2000.
 */
import { describe, expect, it } from "vitest";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { systemClock } from "../../src/reconcile/clock.ts";
import { Estate, HOSTS, NS } from "./estate.ts";

const RUNS = Number(process.env.VIREO_CHAOS_RUNS ?? 200);
const ONLY = process.env.VIREO_CHAOS_SEED;
const BATCH = 10;
/** Runs of a batch side by side: they mostly wait. */
const SIDE_BY_SIDE = 5;
const CONVERGE_MS = 15_000;

type Step = (estate: Estate) => Promise<void> | void;

const MACHINES = 3;
const machineOf = (estate: Estate) => `m${estate.random.below(MACHINES)}`;

const STEPS: readonly { weight: number; step: Step }[] = [
  {
    weight: 1,
    step: (estate) => create(estate, machineOf(estate)),
  },
  { weight: 2, step: (estate) => setRunning(estate, true) },
  { weight: 2, step: (estate) => setRunning(estate, false) },
  {
    weight: 6,
    step: async (estate) => {
      const vm = machineOf(estate);
      const at = { name: vm, namespace: NS };
      const from = (await estate.ask(`get ${vm}`, (client) => client.get(VirtualMachine, at)))?.status?.host;
      const to = estate.random.pick(HOSTS.filter((host) => host !== from)) ?? "h1";
      await estate.ask(`move ${vm} to ${to}`, (client) =>
        client.create(Migration, {
          metadata: { name: `move-${estate.random.below(1e9)}`, namespace: NS },
          spec: { vm, to },
        }),
      );
    },
  },
  {
    weight: 1,
    step: async (estate) => {
      const items = (await estate.ask("list migrations", (client) => client.list(Migration)))?.items ?? [];
      const { name } = estate.random.pick(items)?.metadata ?? { name: "none" };
      await estate.ask(`cancel ${name}`, (client) =>
        client.patch(Migration, { name, namespace: NS }, { spec: { cancel: true } }),
      );
    },
  },
  {
    weight: 1,
    step: async (estate) => {
      const name = machineOf(estate);
      estate.deleted.add(name);
      await estate.ask(`delete ${name}`, (client) => client.delete(VirtualMachine, { name, namespace: NS }));
    },
  },
  {
    weight: 1,
    step: (estate) => {
      const running = [...estate.world.machines.entries()].filter(([, m]) => m.state === "running");
      const [id, machine] = estate.random.pick(running) ?? [];
      if (!id) return;
      estate.trace(`CRASH ${machine?.config.name}`);
      estate.world.crash(id);
    },
  },
  {
    weight: 5,
    step: (estate) => {
      const host = estate.random.pick(HOSTS) ?? "h1";
      if (estate.hasAgent(host)) estate.killAgent(host);
      setTimeout(() => {
        if (!estate.hasAgent(host)) estate.startAgent(host);
      }, estate.random.next() * 30);
    },
  },
  {
    weight: 4,
    step: async (estate) => {
      await estate.killControlPlane();
      await systemClock.sleep(estate.random.next() * 15);
      await estate.startControlPlane();
    },
  },
];

/** A machine that was deleted may come again under its name: another machine. */
async function create(estate: Estate, name: string): Promise<void> {
  const made = await estate.ask(`create ${name}`, (client) =>
    client.create(VirtualMachine, {
      metadata: { name, namespace: NS },
      spec: { image: "web", memory: "64Mi", storagePool: estate.storagePool },
    }),
  );
  if (made) estate.deleted.delete(name);
}

async function setRunning(estate: Estate, running: boolean): Promise<void> {
  const name = machineOf(estate);
  await estate.ask(`${running ? "start" : "stop"} ${name}`, (client) =>
    client.patch(VirtualMachine, { name, namespace: NS }, { spec: { running } }),
  );
}

function choose(estate: Estate): Step {
  let at = estate.random.next() * STEPS.reduce((sum, { weight }) => sum + weight, 0);
  for (const { weight, step } of STEPS) {
    at -= weight;
    if (at < 0) return step;
  }
  return () => undefined;
}

/** What all runs together did: a chaos test in which nothing happens proves nothing. */
const seen = new Map<string, number>();
const count = (what: string, n = 1) => seen.set(what, (seen.get(what) ?? 0) + n);

async function runSeed(seed: number): Promise<void> {
  const estate = new Estate(seed);
  try {
    await estate.open();
    for (let i = 0; i < MACHINES; i++) await create(estate, `m${i}`);
    if (estate.random.next() < 0.7) await estate.someRun();
    const steps = 8 + estate.random.below(10);
    for (let i = 0; i < steps; i++) {
      // Short and long waits, so that kills hit every stage.
      await systemClock.sleep(estate.random.next() ** 2 * 60);
      await choose(estate)(estate);
    }
    for (const host of HOSTS) if (!estate.hasAgent(host)) estate.startAgent(host);
    const deadline = Date.now() + CONVERGE_MS;
    let wrong = ["not looked yet"];
    while (wrong.length > 0 && estate.world.violations.length === 0) {
      if (Date.now() > deadline) break;
      await systemClock.sleep(15);
      wrong = await estate.complaints();
    }
    wrong = [...estate.world.violations, ...wrong];
    for (const m of (await estate.user.list(Migration)).items) {
      // After the flip the target is the machine: it may be stopped or crash, but never be thrown away like a spare.
      if (/handed over.*called off/.test(m.status?.message ?? ""))
        wrong.push(`${m.metadata.name}: its target was killed after the switchover`);
      if (m.status?.phase === "Succeeded") count(`moved in ${estate.storagePool}`);
      count(`migration ${m.status?.phase}: ${m.status?.message?.replace(/\d+/g, "N")}`);
    }
    for (const vm of (await estate.user.list(VirtualMachine)).items) count(`machine ${vm.status?.phase}`);
    count("deleted", estate.deleted.size);
    count("kills", estate.world.trace.filter((line) => line.includes("KILL")).length);
    count("crashes", estate.world.trace.filter((line) => line.includes("CRASH")).length);
    if (wrong.length > 0) {
      const vms = await estate.user.list(VirtualMachine);
      const migrations = await estate.user.list(Migration);
      const state = [...vms.items, ...migrations.items].map(
        ({ kind, metadata, spec, status }) => `${kind} ${metadata.name} ${JSON.stringify({ spec, status })}`,
      );
      throw new Error(
        [
          `seed ${seed}:`,
          ...wrong,
          "--- state",
          ...state,
          "--- trace",
          ...estate.world.trace.slice(-400),
        ].join("\n"),
      );
    }
  } finally {
    await estate.close();
  }
}

describe("kill -9 at random moments, pretended hypervisor", () => {
  const seeds = ONLY ? [Number(ONLY)] : Array.from({ length: RUNS }, (_, i) => i + 1);
  const batches = Array.from({ length: Math.ceil(seeds.length / BATCH) }, (_, i) =>
    seeds.slice(i * BATCH, (i + 1) * BATCH),
  );
  it.each(batches.map((batch) => ({ from: batch[0], to: batch.at(-1), batch })))(
    "seeds $from to $to lose and double nothing",
    async ({ batch }) => {
      const waiting = [...batch];
      const failures: string[] = [];
      const worker = async () => {
        for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift())
          await runSeed(seed).catch((error: unknown) =>
            failures.push(error instanceof Error ? error.message : String(error)),
          );
      };
      await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
      expect(failures.join("\n\n")).toBe("");
    },
    120_000,
  );

  it.skipIf(ONLY !== undefined)("really did something", () => {
    if (process.env.VIREO_CHAOS_STATS) console.log(Object.fromEntries([...seen].sort()));
    const total = (pattern: RegExp) =>
      [...seen].filter(([what]) => pattern.test(what)).reduce((sum, [, n]) => sum + n, 0);
    expect(total(/^migration Succeeded/)).toBeGreaterThan(RUNS / 4);
    expect(total(/^moved in local/)).toBeGreaterThan(RUNS / 16);
    expect(total(/^migration Failed/)).toBeGreaterThan(RUNS / 4);
    expect(total(/^machine Running/)).toBeGreaterThan(RUNS / 4);
    expect(total(/^machine Stopped/)).toBeGreaterThan(RUNS / 10);
    expect(total(/^deleted/)).toBeGreaterThan(RUNS / 10);
    expect(total(/^kills/)).toBeGreaterThan(RUNS * 2);
  });
});
