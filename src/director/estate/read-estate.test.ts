/** What agents tell of a machine's use comes to those who plan. On the real API and planner; the agents' part is played by hand. */
import { expect, it } from "vitest";
import { until } from "../../compute/testing/control-plane.ts";
import { openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { runPlanner } from "../planning/planner.ts";
import { UseHistory } from "./history.ts";
import { readEstate } from "./read-estate.ts";

it("is known five minutes after the planner first saw it, and not before", async () => {
  const estate = await openEstate();
  const stop = new AbortController();
  const history = new UseHistory();
  const { client } = estate;
  const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal, history };
  const running = runPlanner(context);
  try {
    await estate.hostFacts("a");
    await estate.runMachine("web", "a");
    await estate.report("web-1", {
      usage: {
        time: new Date().toISOString(),
        cpus: 0.75,
        stolenCpus: 0,
        hostMemoryBytes: 2 ** 26,
        dirtyBytesPerSecond: 2 ** 24,
        disk: { readBytesPerSecond: 1000, writtenBytesPerSecond: 2000, operationsPerSecond: 30 },
        network: { receivedBytesPerSecond: 500, sentBytesPerSecond: 100 },
      },
    });
    const useIn = async (minutes: number) => {
      const clock = { ...systemClock, now: () => new Date(Date.now() + minutes * 60_000) };
      return (await readEstate(client, { history, clock })).machines[0]?.use;
    };
    expect(await useIn(4)).toBeUndefined();
    const use = await until("what it uses", () => useIn(6));
    const demand = { iops: 30, diskBytes: 3000, networkBytes: 500, memoryBytes: 2 ** 26 };
    // That is measured, not expected: it counts at once.
    expect((await readEstate(client)).machines[0]?.dirtyBytesPerSecond).toBe(2 ** 24);
    expect(use).toEqual({ cpus: 0.75, expected: 0.75, deviation: 0, demand });
  } finally {
    stop.abort();
    await running;
    await estate.close();
  }
});
