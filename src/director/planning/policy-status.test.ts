/** What the writer of a policy, and who looks at it later, is told of others that contradict it. On the real API. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { openControlPlane, type TestControlPlane, until } from "../../compute/testing/control-plane.ts";
import { NS, openEstate } from "../../compute/testing/estate.ts";
import { getCondition } from "../../resource/object.ts";
import { Policy } from "../kinds.ts";
import { startPlanner } from "../testing/planner.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

const policy = (name: string, spec: object) => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name },
  spec: { selector: { matchLabels: { app: "web" } }, ...spec },
});
const user = { name: "test", groups: [] };
const kind = () => {
  const found = plane.service.kinds.find(({ kind: name }) => name === Policy.kind);
  if (!found) throw new Error("there is no Policy");
  return found;
};
const create = (name: string, spec: object, options: { dryRun?: boolean } = {}) =>
  plane.service.create(kind(), NS, policy(name, spec), { user, ...options });
const WARNING =
  'policy "a", spec.required[0] (host.disk.ssd): can never hold together with spec.required[0] (!host.disk.ssd) of this policy; it chooses all machines that this policy does, and there is no host for any of them';

it("a policy of which no machine can be placed is written, with a warning, however that is done", async () => {
  expect((await create("a", { required: ["host.disk.ssd"] })).warnings).toEqual([]);
  const made = await create("b", { required: ["!host.disk.ssd"] });
  expect(made.warnings).toEqual([WARNING]);
  const written = { user, fieldManager: "test" };
  const merge = (body: object) => plane.service.patch(kind(), NS, "b", { type: "merge", body }, written);
  const apply = (body: object) =>
    plane.service.patch(kind(), NS, "b", { type: "apply", body, force: true, mayCreate: true }, written);
  const merged = await merge({ spec: { required: ["!host.disk.ssd"] } });
  // It says so already.
  expect(merged.warnings).toEqual([]);
  // Nothing of it is about what it says of hosts.
  expect((await merge({ spec: { priority: 3 } })).warnings).toEqual([]);
  expect((await merge({ spec: { required: [] } })).warnings).toEqual([]);
  expect((await merge({ spec: { required: ["!host.disk.ssd"] } })).warnings).toEqual([WARNING]);
  expect((await merge({ spec: { required: [] } })).warnings).toEqual([]);
  expect((await apply(policy("b", { required: ["!host.disk.ssd"] }))).warnings).toEqual([WARNING]);
  expect(made.created).toBe(true);
});

it("one that is made is told what keeps two of its machines from being placed", async () => {
  await create("a", { keepApart: "rack" });
  const { warnings } = await create("b", { keepTogether: "host" }, { dryRun: true });
  expect(warnings).toEqual([
    'policy "a", spec.keepApart (rack): can never hold together with spec.keepTogether (host) of this policy; it chooses all machines that this policy does, and two of them cannot both be placed',
  ]);
});

it("the condition Contradicted names both rules, for as long as there are machines that both choose", async () => {
  const estate = await openEstate();
  const stop = startPlanner(estate.client);
  try {
    await estate.runMachine("web", "a");
    for (const [name, required] of [
      ["a", ["host.cpu.mhz > 2000"]],
      ["b", ["host.cpu.mhz < 1000"]],
    ] as const)
      await estate.client.create(Policy, {
        metadata: { name, namespace: NS },
        // Nobody knows by these alone that they choose the same.
        spec: {
          selector: { matchExpressions: [{ key: name, operator: "DoesNotExist" }] },
          required: [...required],
        },
      });
    const told = (name: string) =>
      until(`${name} to be told`, async () => {
        const found = await estate.client.get(Policy, { name, namespace: NS });
        return getCondition(found?.status?.conditions, "Contradicted")?.message;
      });
    expect(await told("a")).toBe(
      'spec.required[0] (host.cpu.mhz > 2000) can never hold together with spec.required[0] (host.cpu.mhz < 1000) of policy "b", for web',
    );
    expect(await told("b")).toMatch(
      /^spec\.required\[0\] \(host\.cpu\.mhz < 1000\) .* of policy "a", for web$/,
    );
    await estate.client.delete(Policy, { name: "b", namespace: NS });
    await until("nothing to be told any more", async () => {
      const found = await estate.client.get(Policy, { name: "a", namespace: NS });
      const conditions = found?.status?.conditions;
      return getCondition(conditions, "Satisfied") && !getCondition(conditions, "Contradicted")
        ? true
        : undefined;
    });
  } finally {
    await stop();
    await estate.close();
  }
});
