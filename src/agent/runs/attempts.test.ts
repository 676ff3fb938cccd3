import { expect, it } from "vitest";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { Attempts } from "./attempts.ts";

it("a move does not stand still because the machine's clock is put right", async () => {
  const clock = new SteppedClock();
  const attempts = new Attempts(clock);
  expect(attempts.stalledMs("default/web-1", 4096)).toBe(0);
  clock.jump(3_600_000);
  await clock.step(2000);
  expect(attempts.stalledMs("default/web-1", 4096)).toBe(2000);
  clock.jump(-7_200_000);
  expect(attempts.stalledMs("default/web-1", 8192)).toBe(0);
});
