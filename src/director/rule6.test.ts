/**
 * Rule 6 of DESIGN: every automatic action records why, what it expected, and what came of it; and it can be previewed. On the real
 * API and reconcilers; the agents' part is played by hand.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { decideWith } from "../cli/plan-decide.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance } from "../compute/kinds.ts";
import { Migration } from "../compute/migrations/kinds.ts";
import { until } from "../compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../compute/testing/estate.ts";
import { Event } from "../reconcile/kinds.ts";
import { Policy } from "./kinds.ts";
import { Plan } from "./planning/kinds.ts";
import { startDirector } from "./testing/planner.ts";

let estate: Estate;
let stop: () => Promise<void>;

beforeEach(async () => {
  estate = await openEstate();
  await estate.hostFacts("a");
  await estate.hostFacts("b", { mhz: 3800 });
  await estate.client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: { matchLabels: {} }, goals: [{ goal: "balanced", weight: 1 }] },
  });
  await estate.runMachine("web", "a");
  stop = startDirector(estate.client);
});
afterEach(async () => {
  await stop();
  await estate.close();
});

const plans = async () => (await estate.client.list(Plan)).items;
const changePolicy = (spec: Partial<Policy["spec"]>) =>
  estate.client.patch(Policy, { name: "web", namespace: NS }, { spec });
const untilPlan = (what: string, wanted: (plan: Plan) => boolean) =>
  until(what, async () => (await plans()).find(wanted), plans);
const requireFast = {
  required: ["host.cpu.mhz >= 3000"],
} satisfies Partial<Policy["spec"]>;

it("a plan tells its trigger, of each move reason and expectation, and at the end what came of it", async () => {
  await changePolicy({ goals: [{ goal: "performance", weight: 1 }], ...requireFast });
  const made = await untilPlan("a plan", (plan) => plan.spec.automation === "act");
  expect(made.spec.trigger).toMatch(/^policy default\/web (changed|is new)$|^a machine came up$/);
  expect(made.spec.moves).toMatchObject([{ vm: "web", from: "a", to: "b", policy: "web" }]);
  expect(made.spec.moves[0]?.reason).toBe(
    'on a policy "web" requires host.cpu.mhz >= 3000 (host.cpu.mhz is 2000)',
  );
  expect(made.spec.moves[0]?.expected).toContain("speed: 2000 MHz -> 3800 MHz");

  // The Migration it makes carries the reason and the plan on, and so do the events of the machine.
  const name = `${made.metadata.name}-0`;
  const migration = await until("its migration", () => estate.client.get(Migration, { name, namespace: NS }));
  expect(migration.spec).toMatchObject({
    reason: made.spec.moves[0]?.reason,
    plan: made.metadata.name,
    policy: "web",
  });
  await until("the event", async () =>
    (await estate.client.list(Event)).items.some(
      ({ spec }) =>
        spec.reason === "MovePlanned" &&
        spec.about.name === "web" &&
        /requires host\.cpu\.mhz/.test(spec.message),
    ),
  );

  // It fails: the plan says so, of the very move, in the words of what failed.
  await estate.instance("web-2", (i) => i.spec.incoming === true);
  await estate.end("web-2", "MigrationFailed", "b has no room on its disk");
  const ended = await untilPlan("the end of the plan", (plan) => plan.status?.phase === "Failed");
  expect(ended.status).toMatchObject({ done: 0, moves: [{ phase: "Failed", migration: name }] });
  expect(ended.status?.moves?.[0]?.message).toContain("b has no room on its disk");
  expect(ended.spec).toEqual(made.spec);
  // And the machine is where it was (rule 4).
  expect((await estate.client.get(Instance, { name: "web-1", namespace: NS }))?.status?.custody).toBe("Held");
});

it("a policy with a limit that says too much, or too little, is refused with what is wrong", async () => {
  const both = changePolicy({ atMost: { per: "rack", machines: 2, percent: 50 } });
  await expect(both).rejects.toThrow(/spec.atMost.*say either machines or percent/);
  await expect(changePolicy({ atMost: { per: "rack" } })).rejects.toThrow(/say either machines or percent/);
  await changePolicy({ atMost: { per: "site", percent: 50 } });
});

it("a policy tells what it aims at now, and whether any host keeps its rules", async () => {
  const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;
  await changePolicy({
    automation: "off",
    goals: [
      { goal: "energy", weight: 1 },
      { goal: "performance", weight: 1, during: { days: [...days] } },
    ],
    required: ["host.cpu.mhz > 3000"],
  });
  const status = () => estate.client.get(Policy, { name: "web", namespace: NS });
  const untilTold = (goal: string, feasible: string) =>
    until(
      `${goal}, ${feasible}`,
      async () => {
        const { goal: now, conditions } = (await status())?.status ?? {};
        return (
          now === goal && conditions?.some(({ type, message }) => type === "Feasible" && message === feasible)
        );
      },
      status,
    );
  await untilTold("performance", "1 of 2 hosts keep its required rules");
  await changePolicy({ goals: [{ goal: "energy", weight: 1 }], required: ["host.cpu.mhz > 9000"] });
  await untilTold("energy", "none of 2 hosts keeps host.cpu.mhz > 9000");
  await changePolicy({ required: [] });
  await until("nothing to tell", async () =>
    (await status())?.status?.conditions?.every(({ type }) => type !== "Feasible"),
  );
});

it("a policy that only advises gets the same plan as a preview, and nothing moves", async () => {
  await changePolicy({ automation: "advise", ...requireFast });
  const plan = await untilPlan("a proposal", ({ status }) => status?.phase === "Proposed");
  expect(plan.spec).toMatchObject({ automation: "advise", moves: [{ vm: "web", from: "a", to: "b" }] });
  expect(plan.spec.moves[0]?.reason).toContain("requires host.cpu.mhz >= 3000");
  await until("the event", async () =>
    (await estate.client.list(Event)).items.some(({ spec }) => spec.reason === "MoveAdvised"),
  );
  expect((await estate.client.list(Migration)).items).toEqual([]);
});

it("a policy that asks gets a proposal, carried out once a user approves it, and not again for a day when one rejects it", async () => {
  await changePolicy({ automation: "ask", ...requireFast });
  const plan = await untilPlan("a proposal", ({ status }) => status?.phase === "Proposed");
  const { name } = plan.metadata;
  expect(plan.spec).toMatchObject({ automation: "ask", moves: [{ vm: "web", from: "a", to: "b" }] });
  expect((await estate.client.list(Migration)).items).toEqual([]);
  // Nothing else of it can be changed.
  await expect(
    estate.client.patch(Plan, { name }, { spec: { approval: "Approved", trigger: "me" } }),
  ).rejects.toThrow(/immutable, but for spec.approval/);

  const lines: string[] = [];
  await decideWith(estate.client, undefined, { decision: "Rejected" }, (line) => lines.push(line));
  expect(lines.join("\n")).toMatch(
    /^ {2}web from a to b: .*host\.cpu\.mhz.*\n {2}rules broken: 1 -> 0\nplan\/plan-.*-ask rejected$/,
  );
  await untilPlan(
    "its end",
    ({ metadata, status }) => metadata.name === name && status?.phase === "Rejected",
  );
  await expect(decideWith(estate.client, name, { decision: "Approved" }, () => undefined)).rejects.toThrow(
    `plan/${name} was rejected already`,
  );
  await expect(estate.client.patch(Plan, { name }, { spec: { approval: "Approved" } })).rejects.toThrow(
    /spec.approval.*was decided already/,
  );
  // A look at the estate does not ask the same once more: a rule is still broken.
  await estate.hostFacts("c");
  await estate.client.patch(Host, { name: "c" }, { spec: { maintenance: true } });
  await until("a look", async () =>
    (await estate.client.get(Host, { name: "c" }))?.status?.conditions?.some(
      ({ type }) => type === "Evacuated",
    ),
  );
  expect((await plans()).map(({ metadata }) => metadata.name)).toEqual([name]);

  // Another policy, another question.
  await changePolicy({ automation: "ask", goals: [{ goal: "performance", weight: 1 }], required: [] });
  const other = await untilPlan("another", ({ status }) => status?.phase === "Proposed");
  await decideWith(estate.client, undefined, { decision: "Approved" }, () => undefined);
  await until("its migration", () =>
    estate.client.get(Migration, { name: `${other.metadata.name}-0`, namespace: NS }),
  );
  await expect(
    decideWith(estate.client, undefined, { decision: "Approved" }, () => undefined),
  ).rejects.toThrow("no plan asks for approval");
});

it("what is no question is not answered", async () => {
  await changePolicy({ automation: "advise", ...requireFast });
  const advice = await untilPlan("a proposal", ({ status }) => status?.phase === "Proposed");
  const { name } = advice.metadata;
  await expect(
    decideWith(estate.client, undefined, { decision: "Approved" }, () => undefined),
  ).rejects.toThrow(`no plan asks for approval; plan/${name} advises: name it to have it carried out`);
  await expect(decideWith(estate.client, "none", { decision: "Approved" }, () => undefined)).rejects.toThrow(
    'there is no plan "none"',
  );
  // Off: not even advice; and a proposal that the estate has overtaken is approved no more.
  await changePolicy({ automation: "ask" });
  const asked = await untilPlan(
    "a question",
    ({ spec, status }) => spec.automation === "ask" && status?.phase === "Proposed",
  );
  await changePolicy({ automation: "off" });
  await untilPlan(
    "its end",
    ({ metadata, status }) => metadata.name === asked.metadata.name && status?.phase === "Superseded",
  );
  await expect(
    estate.client.patch(Plan, { name: asked.metadata.name }, { spec: { approval: "Approved" } }),
  ).rejects.toThrow(/spec.approval: Forbidden: the plan is Superseded/);
  await expect(
    decideWith(estate.client, asked.metadata.name, { decision: "Rejected" }, () => undefined),
  ).rejects.toThrow(/is Superseded: the estate is another by now/);
  expect((await estate.client.list(Migration)).items).toEqual([]);
});
