/** Rules that see something else of each host and of each machine. */
import { expect, it } from "vitest";
import type { Policy } from "../kinds.ts";
import { explain } from "../planning/explain.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { feasibility } from "../rules/feasible.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { indexOf } from "./estate-index.ts";

const policy = (name: string, spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: {
    selector: {},
    automation: "act",
    priority: 0,
    goals: [{ goal: "performance", weight: 1 }],
    ...spec,
  },
});

/** The first host is the fastest; the first machine has none yet. */
function estateOf(hosts: number, machines: number, policies: Policy[]): Estate {
  const list = Array.from(
    { length: hosts },
    (_, i): HostView => ({
      ...{ name: `h${i}`, ready: true, site: "", rack: "r", cpus: 64, memoryBytes: 2 ** 38, cores: 32 },
      ...{ mhz: i === 0 ? 4000 : 2000, cpuModel: "x", accelerator: "kvm", ssd: true, linkMbps: 1000 },
    }),
  );
  const all = Array.from(
    { length: machines },
    (_, i): MachineView => ({
      ...{ key: `default/m${i}`, namespace: "default", name: `m${i}`, labels: {}, cpus: 2 },
      ...{ memoryBytes: 2 ** 30, movable: true, since: 0 },
      ...(i === 0 ? {} : { host: `h${i % hosts}` }),
    }),
  );
  return { hosts: list, machines: all, policies, odd: [] };
}

const options = { ...PLAN_DEFAULTS, now: 1e12, released: new Set<string>() };
const first = ({ machines: [machine] }: Estate) => {
  if (!machine) throw new Error("there is no machine");
  return machine;
};

it("one that can be asked of all combinations holds for each, and those that come to the same are alike", () => {
  const estate = estateOf(200, 800, [
    policy("p", { required: ["machine.name.substring(1) != host.name.substring(1)"] }),
  ]);
  expect(place(estate, first(estate)).host).toBe("h1");
  expect(feasibility(indexOf(estate), estate.policies[0] as Policy)?.message).toBe(
    "199 of 200 hosts keep its required rules",
  );
  const other = estateOf(200, 800, [policy("p", { required: ["machine.name != host.name"] })]);
  expect(indexOf(other).kindsOfHosts()).toHaveLength(2);
});

it("one with more combinations than can be asked brings no machine to a host, and says so", () => {
  const [hosts, machines] = [1000, 1200];
  const dear = policy("dear", { required: ["machine.name != host.name"] });
  const cheap = policy("cheap", { required: ["machine.cpus <= host.cpu.cores"] });
  const estate = estateOf(hosts, machines, [dear, cheap]);
  const why =
    "requires machine.name != host.name, which reads something else of 1000 hosts and of 1200 machines: more combinations than can be looked at";
  expect(place(estate, first(estate))).toEqual({ reason: expect.stringContaining(why) });
  expect(planMoves(estate, options)).toEqual([]);
  const told = explain(estate, "default/m5")?.hosts.filter(({ against }) =>
    against?.some(({ why: of }) => of.includes(why)),
  );
  // All that are told one by one, but for the one that it is on.
  expect(told).toHaveLength(49);
  expect(feasibility(indexOf(estate), dear)).toEqual({
    feasible: undefined,
    message: expect.stringMatching(
      /^machine\.name != host\.name: which reads .* no machine of this policy comes to a host/,
    ),
  });
  expect(feasibility(indexOf(estate), cheap)?.feasible).toBe(true);
  // Only those that it chooses: the others go on.
  const others = estateOf(hosts, machines, [cheap]);
  expect(planMoves(others, options).length).toBeGreaterThan(0);
});

it("what takes longer for each is asked of fewer", () => {
  const all = (rule: string) => {
    const own = policy("p", { required: [rule] });
    return feasibility(indexOf(estateOf(50, 100, [own])), own)?.feasible;
  };
  const loop = (flags: string) => `${flags}.exists(flag, flag + host.name == machine.name) || true`;
  expect(all(loop('["a"]'))).toBe(true);
  const longer = [...Array(25)].map((_, i) => `(machine.name + host.name).contains("zz${i}")`);
  expect(all(`${longer.join(" || ")} || true`)).toBe(true);
  const own = policy("p", { required: [loop('["a"]')] });
  expect(feasibility(indexOf(estateOf(100, 200, [own])), own)?.feasible).toBeUndefined();
});

it("what rules of one namespace cost keeps no machine of another from a host", () => {
  const own = policy("own", { required: ["machine.name != host.name"] });
  const elsewhere = (name: string, rule: string): Policy => ({
    ...policy(name, { required: [rule] }),
    metadata: { name, namespace: "other" },
  });
  const placed = (theirs: Policy[], count: number) => {
    const made = estateOf(1000, 200, [own, ...theirs]);
    const more = Array.from(
      { length: count },
      (_, i): MachineView => ({ ...first(made), key: `other/x${i}`, namespace: "other", name: `x${i}` }),
    );
    const estate = { ...made, machines: [...made.machines, ...more] };
    return [first(estate), ...more.slice(-1)].map((machine) => place(estate, machine).host !== undefined);
  };
  expect(placed([], 1)).toEqual([true, true]);
  // Each of them costs less than that one, all of them together more than there is.
  const many = Array.from({ length: 200 }, (_, i) =>
    elsewhere(`p${i}`, `machine.name != host.name || machine.cpus == ${i}`),
  );
  expect(placed(many, 10)).toEqual([true, false]);
  // The same rule of others that have many machines.
  expect(placed([elsewhere("same", "machine.name != host.name")], 1200)).toEqual([true, false]);
  // What is left over is for those that need more than their share.
  expect(placed([elsewhere("same", "machine.name != host.name")], 700)).toEqual([true, true]);
});

it("tells apart policies that like the same, of which not the same can be asked", () => {
  const preferred = ["a", "b"].map((of) => ({ rule: `machine.labels["${of}"] != host.name`, weight: 1 }));
  const own = policy("p", { preferred });
  const theirs = { ...own, metadata: { name: "p", namespace: "other" } };
  const made = estateOf(1000, 0, [own, theirs]);
  const labelled = (namespace: string, labels: (i: number) => Record<string, string>) =>
    Array.from(
      { length: 1200 },
      (_, i): MachineView => ({
        ...{ key: `${namespace}/m${i}`, namespace, name: `m${i}`, labels: labels(i), cpus: 2 },
        ...{ memoryBytes: 2 ** 30, movable: true, since: 0 },
      }),
    );
  const machines = [
    ...labelled("default", (i) => ({ a: "x", b: `x${i}` })),
    ...labelled("other", (i) => ({ a: `x${i}`, b: "x" })),
  ];
  const { sight } = indexOf({ ...made, machines });
  const dear = [own, theirs].map((of) => preferred.map(({ rule }) => sight.tooDear(of, rule) !== undefined));
  expect(dear).toEqual([
    [false, true],
    [true, false],
  ]);
  const [machine] = machines;
  if (!machine) throw new Error("there is no machine");
  const both = { ...machine, labels: { a: "x", b: "x" } };
  expect(sight.ofMachine(own, both)).not.toBe(sight.ofMachine(theirs, both));
});

it("a preference with more combinations than can be asked counts nothing", () => {
  const dear = policy("dear", { preferred: [{ rule: "machine.name == host.name", weight: 10 }] });
  const estate = estateOf(1000, 1200, [dear]);
  expect(place(estate, first(estate)).host).toBe("h0");
});
