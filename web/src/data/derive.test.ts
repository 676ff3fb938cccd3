/** What the pages make of several kinds at once. */
import { expect, it } from "vitest";
import { chosenBy } from "./derive.ts";
import type { Policy } from "./kinds.ts";

it("finds the machines of a policy, and looks at its selector once for all that have the same labels", () => {
  let looks = 0;
  const policy = {
    metadata: { name: "web", namespace: "shop" },
    spec: Object.defineProperty({}, "selector", {
      get: () => {
        looks++;
        return { matchLabels: { tier: "web" } };
      },
    }),
  } as Policy;
  const machines = Array.from({ length: 3000 }, (_, i) => ({
    metadata: { name: `m-${i}`, namespace: "shop", labels: { tier: i % 3 ? "web" : "db" } },
  }));
  expect(chosenBy(policy, machines)).toHaveLength(2000);
  expect(looks).toBe(2);
});
