import { expect, it } from "vitest";
import { tableOf, tapName } from "./network-names.ts";

it("a run has taps of its own: the clean-up of one leaves those of the next, which has the same MAC", () => {
  const mac = "52:54:00:12:34:56";
  const names = [
    tapName({ uid: "run-1", mac }),
    tapName({ uid: "run-2", mac }),
    tapName({ uid: "run-1", mac: "52:54:00:12:34:57" }),
  ];
  expect(new Set(names).size).toBe(3);
  // The kernel takes 15 characters; `down` finds them by this form.
  for (const name of names) expect(name).toMatch(/^vrt[0-9a-f]{10}$/);
});

it("no two networks share a table, whose last writer would take the other's rules away", () => {
  expect([tableOf("lab-1"), tableOf("lab.1")]).toEqual(["vireo_lab_1", "vireo_lab.1"]);
});
