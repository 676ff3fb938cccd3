/** Times of policies that never come, or never end. */
import { describe, expect, it } from "vitest";
import { KINDS } from "../../kinds.ts";
import type { Lookup } from "../../resource/kind.ts";
import type { Window } from "../../resource/window.ts";
import { checkPolicy, warnPolicy } from "../checks.ts";
import type { Policy } from "../kinds.ts";
import { Site } from "../sites.ts";

const policy = (spec: Partial<Policy["spec"]>): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "p", namespace: "default" },
  spec: { selector: {}, automation: "act", priority: 0, ...spec },
});
const during = (window: Window) => policy({ goals: [{ goal: "energy", weight: 1, during: window }] });
const quiet = (...windows: Window[]) => policy({ moves: { quiet: windows } });
const refused = (of: Policy, old?: Policy) =>
  checkPolicy(of, old).map(({ field, message }) => `${field}: ${message}`);
const north: Site = {
  apiVersion: "vireo.dev/v1",
  kind: "Site",
  metadata: { name: "north" },
  spec: { timeZone: "UTC", pricePerKWh: [0.3] },
};
const lookup: Lookup = {
  // Only sites are there.
  list: <T>(kind: { kind: string }) => (kind.kind === Site.kind ? [north] : []) as unknown as readonly T[],
};
const warned = (of: Policy, old?: Policy) => warnPolicy(of, old, lookup);

describe("a time that never comes", () => {
  it("is refused where no figure is in it", () => {
    expect(refused(during({ price: { above: 0.5, below: 0.3 } }))).toEqual([
      'spec.goals[0].during.price: Invalid value: {"above":0.5,"below":0.3}: can never hold: nothing is above 0.5 and below 0.3; write two times for what is outside of both',
    ]);
    expect(refused(quiet({ hours: "08:00-09:00" }, { carbon: { above: 3, below: 3 } }))[0]).toMatch(
      /^spec.moves.quiet\[1\].carbon: .*nothing is above 3 and below 3/,
    );
    expect(refused(during({ price: { below: 0 } }))[0]).toMatch(/nothing is below 0$/);
    for (const price of [{ above: 0.3, below: 0.5 }, { above: 0 }, { below: 0.1 }])
      expect(refused(during({ price }))).toEqual([]);
  });

  it("and was stored before is not held against who changes something else", () => {
    const old = during({ price: { above: 0.5, below: 0.3 } });
    expect(refused({ ...old, spec: { ...old.spec, priority: 3 } }, old)).toEqual([]);
    expect(refused(during({ price: { above: 0.6, below: 0.3 } }), old)).toHaveLength(1);
  });

  it("because no Site tells, is told", () => {
    expect(warned(during({ price: { above: 0.5, site: "nowhere" } }))).toEqual([
      'spec.goals[0].during.price.site: no Site "nowhere" is there, so that time does not come until it is',
    ]);
    const carbon = quiet({ carbon: { above: 5, site: "north" } });
    expect(warned(carbon)[0]).toMatch(
      /^spec.moves.quiet\[0\].carbon.site: Site "north" has no carbonPerKWh, /,
    );
    expect(warned({ ...carbon, spec: { ...carbon.spec, priority: 3 } }, carbon)).toEqual([]);
    expect(warned(during({ price: { above: 0.5, site: "north" } }))).toEqual([]);
    expect(warned(during({ price: { above: 0.5 } }))).toEqual([]);
  });
});

it("a time of wake tests that no Site tells is told of by the kind Host", () => {
  const host = (during?: Window) => ({
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name: "a" },
    spec: { powerManagement: { wakeTest: { everyDays: 7, ...(during ? { during } : {}) } } },
  });
  const { warn } = KINDS.find(({ kind }) => kind === "Host") ?? {};
  const nowhere = host({ price: { below: 0.2, site: "nowhere" } });
  expect(warn?.(nowhere, undefined, lookup)).toEqual([
    'spec.powerManagement.wakeTest.during.price.site: no Site "nowhere" is there, so that time does not come until it is',
  ]);
  expect(warn?.(nowhere, nowhere, lookup)).toEqual([]);
  for (const during of [undefined, { hours: "22:00-06:00" }, { price: { below: 0.2, site: "north" } }])
    expect(warn?.(host(during), nowhere, lookup)).toEqual([]);
});

it("quiet times that leave nothing of the week are told", () => {
  const days: NonNullable<Window["days"]> = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  const whole = [
    quiet({ days }),
    quiet({ hours: "08:00-18:00" }, { hours: "18:00-08:00" }),
    quiet({ hours: "06:00-06:00" }),
    quiet({ days: days.slice(0, 5) }, { hours: "20:00-23:00" }, { days: ["Sat", "Sun"] }),
  ];
  for (const of of whole)
    expect(warned(of)).toEqual([expect.stringMatching(/^spec.moves.quiet covers the whole week: /)]);
  const parts = [
    quiet({ days: days.slice(1) }),
    quiet({ hours: "08:00-18:00" }, { hours: "18:01-08:00" }),
    // The night belongs to the day on which it begins: that to Monday is Sunday's.
    quiet({ days: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], hours: "12:00-12:00" }),
    quiet({ days, price: { above: 0.3 } }),
  ];
  for (const of of parts) expect(warned(of)).toEqual([]);
});
