/** A part of an estate as the solver sees it: what rules say there is what they say in the whole estate. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { xorshift } from "../solver/random.ts";
import { State } from "../solver/state.ts";
import { partOf } from "./part.ts";

const GROUPS: Partial<Policy["spec"]>[] = [
  { keepApart: "host" },
  { keepApart: "rack" },
  { keepTogether: "rack" },
  { spread: "rack" },
  { spread: "site" },
  { atMost: { per: "rack", machines: 2 } },
  { atMost: { per: "rack", machines: 40 } },
];

/** Forty hosts in ten racks at two sites, six machines for each, of the same group each eighth. */
function estateOf(random: () => number): Estate {
  const hosts = Array.from(
    { length: 40 },
    (_, i): HostView => ({
      name: `host-${i}`,
      ready: true,
      site: i < 20 ? "north" : "south",
      rack: `rack-${Math.floor(i / 4)}`,
      cpus: 1000,
      memoryBytes: 2 ** 40,
      mhz: 2000,
      cores: 32,
      cpuModel: "x",
      accelerator: "kvm",
      ssd: i % 3 !== 0,
      linkMbps: 1000,
      ...(i % 11 === 5 ? { closed: "for a test" } : {}),
    }),
  );
  const machines = Array.from(
    { length: 240 },
    (_, i): MachineView => ({
      key: `default/vm-${i}`,
      namespace: "default",
      name: `vm-${i}`,
      labels: { app: `${i % 8}` },
      cpus: 1,
      memoryBytes: 2 ** 30,
      host: `host-${random() % 40}`,
      movable: true,
      since: 0,
    }),
  );
  const policies = GROUPS.map(
    (spec, i): Policy => ({
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: `group-${i}`, namespace: "default" },
      spec: {
        selector: { matchLabels: { app: `${i}` } },
        goals: [{ goal: "balanced", weight: 1 }],
        automation: "act",
        priority: 0,
        ...(random() % 2 === 0 ? { required: ["host.disk.ssd"] } : {}),
        ...spec,
      },
    }),
  );
  return { hosts, machines, policies, odd: [] };
}

it("rules of machines together count those that are outside, however machines move inside", () => {
  let broken = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const random = xorshift(seed);
    const index = indexOf(estateOf(random));
    const hosts = [...new Set(Array.from({ length: 12 }, () => random() % 40))];
    const part = partOf(index, {
      hosts,
      freedomOf: (at) => (at % 3 === 0 ? "stays" : "free"),
      moveCost: () => 0,
    });
    if (!part) throw new Error("nothing in it may be moved");
    const { model, machine, host } = part;
    // Nothing of the others is in it.
    expect([...host].sort()).toEqual([...hosts].sort());
    const state = new State(model);
    const free = [...machine.keys()].filter((item) => (machine[item] as number) >= 0);
    for (let n = 0; n < 300; n++) {
      const item = free[random() % free.length] as number;
      const to = random() % (model.takers ?? 0);
      const whole = index.state.counts.breaks(machine[item] as number, host[to] as number) >= 0;
      expect(state.counts.breaks(item, to) >= 0).toBe(whole);
      if (whole) broken++;
      else {
        state.move(item, to);
        index.move(`default/vm-${machine[item]}`, `host-${host[to]}`);
      }
    }
  }
  expect(broken).toBeGreaterThan(100);
});
