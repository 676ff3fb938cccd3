/** What `vireo explain vm/NAME` and `host/NAME` print. */
import { expect, it } from "vitest";
import type { Host } from "../compute/hosts/kinds.ts";
import type { Placed } from "../director/planning/answers.ts";
import { describePlaced, describePower } from "./explain-words.ts";

const linesOf = (placed: Partial<Placed>) => {
  const lines: string[] = [];
  describePlaced(
    {
      kind: "Placement",
      apiVersion: "vireo.dev/v1",
      machine: "default/web-1",
      policies: [],
      hosts: [],
      ...placed,
    },
    (line) => lines.push(line),
  );
  return lines;
};

const hostOf = (status: NonNullable<Host["status"]>): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: "Host",
  metadata: { name: "a" },
  spec: {},
  status,
});

it("prints what each policy contributes, all that stands against each host, and groups of others", () => {
  expect(
    linesOf({
      host: "a",
      about: "a",
      policies: [
        {
          name: "fast",
          goal: "performance",
          score: 0.87,
          says: ["goals: …", "requires host.disk.ssd: kept"],
        },
        { name: "apart", goal: "balanced", score: 0, says: ["keepApart: rack: kept, 0 others there"] },
      ],
      moves: "never",
      use: "0.30 of its 1 CPUs",
      hosts: [
        { name: "a", chosen: true, ruledOut: false, verdict: "score 0.87 (…)" },
        {
          name: "b",
          chosen: false,
          ruledOut: false,
          verdict: "score 0.80 (…)",
          compared: "0.07 less than on a",
        },
        { name: "c", chosen: false, ruledOut: true, verdict: "ruled out: one", against: [{ why: "one" }] },
        {
          name: "d",
          chosen: false,
          ruledOut: true,
          verdict: "ruled out: one; two",
          against: [{ why: "one" }, { why: "two", policy: "fast", rule: "host.disk.ssd" }],
        },
      ],
      others: {
        possible: 1,
        ruledOut: 24,
        alike: [
          { hosts: 20, names: ["e", "f", "g"], against: ["not enough memory"] },
          { hosts: 1, names: ["h"], against: ["not enough memory", "spread: host (policy x)"] },
        ],
      },
    }),
  ).toEqual([
    "policies  fast (performance): 0.87 of its score on a",
    "            goals: …",
    "            requires host.disk.ssd: kept",
    "          apart (balanced): 0.00 of its score on a",
    "            keepApart: rack: kept, 0 others there",
    "moves     never",
    "uses      0.30 of its 1 CPUs",
    "hosts     as they would be judged now, the best first:",
    "  * a            score 0.87 (…)",
    "    b            score 0.80 (…)",
    "                 0.07 less than on a",
    "    c            ruled out: one",
    "    d            ruled out, for 2 reasons:",
    "                 - one",
    "                 - two",
    "    1 more host could have it",
    "    24 more hosts are ruled out",
    "                 20 (e, f, g, …): not enough memory",
    "                 1 (h): not enough memory; spread: host (policy x)",
  ]);
});

it("of a machine that no policy chooses, and that runs nowhere", () => {
  expect(linesOf({})).toEqual([
    "policies  none; balanced",
    "hosts     as they would be judged now, the best first:",
  ]);
  expect(linesOf({ policies: [{ name: "web", goal: "energy" }] })[0]).toBe("policies  web (energy)");
});

it("of a host prints why it is on or off, what was wanted before and came of it, and what is expected", () => {
  const lines: string[] = [];
  const since = "2026-11-28T10:00:00.000Z";
  const host = hostOf({
    power: {
      state: "On",
      since,
      automatic: { power: "Off", since, policy: "frugal", reason: "it is empty" },
      boots: [80, 90],
      past: [{ power: "On", since, finishedTime: since, succeeded: false, message: "it did not come" }],
    },
  });
  const told = { kind: "HostPower", apiVersion: "vireo.dev/v1", host: "a", why: "it is empty" } as const;
  describePower(host, { ...told, forecast: "nothing" }, (line) => lines.push(line));
  expect(lines).toEqual([
    "host/a",
    "power     On, to be Off",
    "why       it is empty",
    "boots     80, 90 s, the newest last",
    `          ${since} On failed: it did not come`,
    "forecast  nothing",
  ]);
});

it("prints what a host's wake test waits for, and what came of the newest", () => {
  const lines: string[] = [];
  const message = "its wake test is due since 2026-01-08T00:00:00Z, and waits for 22:00-06:00 UTC";
  const startedTime = "2026-01-01T00:00:00Z";
  const host = hostOf({
    conditions: [
      { type: "WakeTestDue", status: "True", reason: "Due", message, lastTransitionTime: startedTime },
    ],
    power: {
      state: "On",
      since: startedTime,
      lastWakeTest: { startedTime, finishedTime: startedTime, passed: true, message: "it woke in 80 s" },
    },
  });
  describePower(host, { kind: "HostPower", apiVersion: "vireo.dev/v1", host: "a", why: "on" }, (line) =>
    lines.push(line),
  );
  expect(lines.slice(-2)).toEqual([
    `test      ${message}`,
    `tested    ${startedTime}, passed: it woke in 80 s`,
  ]);
});
