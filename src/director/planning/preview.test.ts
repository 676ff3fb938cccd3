/** What would be planned: by level of automation, with figures, and the estate as it was. */
import { expect, it } from "vitest";
import { describePreview } from "../../cli/plan-show.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import type { Plan } from "./kinds.ts";
import { previewOf } from "./preview.ts";

const GiB = 2 ** 30;
const host = (name: string): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 16,
  memoryBytes: 32 * GiB,
  mhz: 2000,
  cores: 8,
  cpuModel: "x",
  idleWatts: 100,
  maxWatts: 200,
  accelerator: "kvm",
  ssd: true,
  linkMbps: 10_000,
});
const machine = (name: string, at: string): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app: name },
  cpus: 1,
  memoryBytes: GiB,
  movable: true,
  since: 0,
  host: at,
});
const policy = (name: string, spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: { selector: { matchLabels: { app: name } }, automation: "act", priority: 0, ...spec },
});
const estate = (): Estate => ({
  hosts: [host("a"), host("b"), { ...host("c"), mhz: 4000 }],
  machines: [machine("x", "a"), machine("y", "b"), machine("z", "b")],
  policies: [
    policy("x", { goals: [{ goal: "energy", weight: 1 }] }),
    policy("y", { required: ["host.cpu.mhz >= 3000"], automation: "ask" }),
    policy("z", { required: ["host.cpu.mhz >= 3000"], automation: "off" }),
  ],
  odd: [],
});

it("tells by level of automation what would move, with figures before and after, and leaves the estate as it was", async () => {
  const of = estate();
  const preview = await previewOf(of, [], 1e12);
  expect(
    preview.plans.map(({ spec }) => [spec.automation, spec.moves.map(({ vm, to }) => [vm, to])]),
  ).toEqual([
    ["act", [["x", "b"]]],
    ["ask", [["y", "c"]]],
  ]);
  const [act, ask] = preview.plans;
  expect(act?.status?.outlook).toMatchObject({ before: { hostsInUse: 2 }, after: { hostsInUse: 1 } });
  expect(act?.spec.moves[0]?.predicted).toMatchObject({ bytes: GiB });
  expect(ask?.status?.outlook).toMatchObject({ before: { rulesBroken: 2 }, after: { rulesBroken: 1 } });
  expect(preview.broken).toEqual(
    ["y", "z"].map((policy) => ({
      ...{ namespace: "default", policy },
      message: `${policy} on b: policy "${policy}" requires host.cpu.mhz >= 3000 (host.cpu.mhz is 2000)`,
    })),
  );
  expect(of).toEqual(estate());
  expect(await previewOf(of, [], 1e12)).toEqual(preview);
});

it("names a plan that is under way, and tells nothing where nothing is worth a move", async () => {
  const plan = {
    apiVersion: "vireo.dev/v2",
    kind: "Plan",
    metadata: { name: "p1" },
    spec: { trigger: "", automation: "act", moves: [] },
    status: { phase: "Running" },
  } satisfies Plan;
  expect(await previewOf({ ...estate(), machines: [], policies: [] }, [plan], 1e12)).toEqual({
    kind: "PlanPreview",
    apiVersion: "vireo.dev/v1",
    plans: [],
    broken: [],
    underWay: "p1",
  });
});

it("names a plan that quiet hours hold, and plans nothing else for its machines", async () => {
  const move = { namespace: "default", vm: "y", from: "a", to: "c", reason: "", expected: "", policy: "y" };
  const plan = {
    apiVersion: "vireo.dev/v2",
    kind: "Plan",
    metadata: { name: "p1" },
    spec: { trigger: "", automation: "ask", approval: "Approved", moves: [move] },
    status: { phase: "Held" },
  } satisfies Plan;
  const { plans, held } = await previewOf(estate(), [plan], 1e12);
  expect([plans.map(({ spec }) => spec.automation), held]).toEqual([["act"], "p1"]);
});

it("while a plan goes on tells what has to go, and whose moves would not be made for that", async () => {
  const of = estate();
  const move = (vm: string, from: string, to: string) => ({
    ...{ namespace: "default", vm, from, to, reason: "played", expected: "nothing" },
  });
  const underWay: Plan = {
    apiVersion: "vireo.dev/v1",
    kind: "Plan",
    metadata: { name: "p" },
    spec: { trigger: "played", automation: "act", moves: [move("x", "a", "b")] },
    status: { phase: "Running" },
  };
  const told = (preview: Awaited<ReturnType<typeof previewOf>>) => {
    const lines: string[] = [];
    describePreview({ ...preview, plans: [], broken: [] }, (line) => lines.push(line));
    return lines;
  };
  of.policies = of.policies.filter(({ metadata }) => metadata.name === "x");
  const calm = await previewOf(of, [underWay], 1e12);
  expect(calm.plans).toEqual([]);
  expect(told(calm)).toEqual([
    "plan/p is under way; until it is over only what has to go is planned",
    "nothing else has to go now",
  ]);
  of.hosts = of.hosts.map((each) =>
    each.name === "b" ? { ...each, maintenance: true, closed: "it is in maintenance" } : each,
  );
  const urgent = await previewOf({ ...of }, [underWay], 1e12);
  expect(urgent.plans.flatMap(({ spec }) => spec.moves.map(({ vm }) => vm)).sort()).toEqual(["y", "z"]);
  expect(told(urgent)[1]).toBe("plan/p would be superseded: its moves that have not begun would not be made");
});
