/** Policies in words. */
import { expect, it } from "vitest";
import type { Policy } from "../kinds.ts";
import { describePolicy, describeSelector } from "./policy-words.ts";

const words = (spec: Partial<Policy["spec"]>) =>
  Object.fromEntries(
    describePolicy({ spec: { selector: {}, automation: "act", priority: 0, ...spec } }).map(
      ({ what, wants }) => [what, wants.join("; ")],
    ),
  );

it("says what a policy wants, and nothing of what it does not say", () => {
  expect(words({})).toEqual({ Goal: "balanced", Moves: "moves machines by itself" });
  expect(words({ goals: [{ goal: "performance", weight: 1 }] }).Goal).toBe("performance");
  expect(
    words({
      goals: [
        { goal: "performance", weight: 2 },
        { goal: "energy", weight: 1 },
        { goal: "carbon", weight: 1, during: { hours: "22:00-06:00", carbon: { below: 200 } } },
      ],
      keepApart: "host",
      spread: "rack",
      atMost: { per: "site", percent: 50 },
      failover: { per: "host", losses: 1 },
      overcommit: { cpu: 1.5, memory: 0.9 },
      required: ["host.cpu.mhz > 2000"],
      preferred: [{ rule: "host.rack == 'a1'", weight: 10 }],
      automation: "ask",
      moves: { perHour: 1, quiet: [{ days: ["Sat", "Sun"] }], minimumStayMinutes: 30 },
      transfer: { bandwidth: "100Mi", postCopy: true },
      priority: 5,
    }),
  ).toEqual({
    Goal: "carbon while 22:00-06:00 UTC, carbon below 200; performance 67 %, energy 33 % otherwise",
    Where:
      "no two on one host; spread evenly over racks; at most 50 % of them in one site; room elsewhere when any 1 host is lost",
    "Its hosts give out": "at most 1.5 CPUs for each of their processors; at most 90 % of their memory",
    Required: "host.cpu.mhz > 2000",
    Preferred: "host.rack == 'a1'  (weight 10)",
    Moves:
      "asks before it moves machines; at most 1 move an hour; each stays at least 30 minutes; none while Sat, Sun UTC",
    Sent: "at most 100Mi a second; going on before all of the memory is there",
    Priority: "5",
  });
});

it("says whom it chooses", () => {
  expect(describeSelector({})).toBe("all of the namespace");
  expect(
    describeSelector({
      matchLabels: { tier: "web" },
      matchExpressions: [
        { key: "app", operator: "In", values: ["shop", "bakery"] },
        { key: "old", operator: "DoesNotExist" },
      ],
    }),
  ).toBe("tier = web; app in shop, bakery; without old");
});
