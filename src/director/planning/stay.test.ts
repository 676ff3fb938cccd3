/** No ping-pong: whatever the load does, no machine comes back to a host within its stay time after it left it. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { apply } from "../estate/moved.ts";
import type { Policy } from "../kinds.ts";
import { xorshift } from "../solver/random.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";

const GiB = 2 ** 30;
const ROUNDS = 10_000;
const ROUND_MS = 30_000;
const HOSTS = ["a", "b", "c"];
const MACHINES = 5;

const hosts: HostView[] = HOSTS.map((name, i) => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 8,
  memoryBytes: 16 * GiB,
  mhz: 2000 + 600 * i,
  cores: 8,
  cpuModel: "x",
  idleWatts: 40 + 20 * i,
  maxWatts: 120 + 60 * i,
  accelerator: "tcg",
  ssd: true,
  linkMbps: 1000,
}));

const policy = (name: string, spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: {
    selector: { matchLabels: { tier: name } },
    goals: [{ goal: "balanced", weight: 1 }],
    automation: "act",
    priority: 0,
    ...spec,
  },
});

it(`holds in ${ROUNDS} rounds of noisy load`, { timeout: 120_000 }, () => {
  const random = xorshift(20_261_128);
  const below = (n: number) => random() % n;
  let estate: Estate = {
    hosts,
    machines: Array.from({ length: MACHINES }, (_, i): MachineView => {
      const name = `m${i}`;
      return {
        key: `default/${name}`,
        namespace: "default",
        name,
        labels: { tier: i % 2 === 0 ? "fast" : "frugal" },
        cpus: 2,
        memoryBytes: 2 * GiB,
        host: HOSTS[i % HOSTS.length] ?? "a",
        movable: true,
        since: 0,
      };
    }),
    policies: [
      policy("fast", { goals: [{ goal: "performance", weight: 1 }] }),
      policy("frugal", { goals: [{ goal: "energy", weight: 1 }], spread: "host" }),
    ],
    odd: [],
  };
  const leftAt = new Map<string, number>();
  const seen = { moves: 0, mended: 0, returns: 0, relieved: 0 };
  for (let round = 1; round <= ROUNDS; round++) {
    const now = round * ROUND_MS;
    // What they take goes up and down; now and then a host takes no machines, or sends away those it has.
    estate = {
      ...estate,
      hosts: hosts.map((host) =>
        below(12) === 0
          ? { ...host, closed: "it is not ready" }
          : below(10) === 0
            ? { ...host, cpus: 4 }
            : host,
      ),
      machines: estate.machines.map((machine) => ({
        ...machine,
        cpus: 1 + below(4),
        memoryBytes: (1 + below(5)) * GiB,
        // Measured, too: hosts become too busy, and no longer are.
        use: { cpus: below(30) / 10, expected: below(30) / 10 },
        left: [...leftAt].flatMap(([key, at]) => {
          const [name, host = ""] = key.split(" ");
          return name === machine.name ? [{ host, at }] : [];
        }),
      })),
    };
    for (const move of planMoves(estate, { ...PLAN_DEFAULTS, now, released: new Set() })) {
      const machine = estate.machines.find(({ name }) => name === move.vm);
      if (!machine) throw new Error(`no machine ${move.vm}`);
      const before = leftAt.get(`${move.vm} ${move.to}`);
      expect(now - (before ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(PLAN_DEFAULTS.stayMs);
      // Within its stay time only a broken rule moves it.
      if (now - machine.since < PLAN_DEFAULTS.stayMs) {
        expect(move.reason).toMatch(/^on \w /);
        seen.mended++;
      }
      if (before !== undefined) seen.returns++;
      if (move.reason.includes(" is too busy: ")) seen.relieved++;
      seen.moves++;
      leftAt.set(`${move.vm} ${move.from}`, now);
      estate = apply(estate, machine.key, move.to);
      estate = {
        ...estate,
        machines: estate.machines.map((m) => (m.key === machine.key ? { ...m, since: now } : m)),
      };
    }
  }
  // It was no quiet time: thousands of moves, many of them within a stay time or from hosts that were too busy, and returns after it.
  expect(seen.moves).toBeGreaterThan(1000);
  expect(seen.mended).toBeGreaterThan(100);
  expect(seen.returns).toBeGreaterThan(500);
  expect(seen.relieved).toBeGreaterThan(100);
});
