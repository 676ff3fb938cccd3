/** What the scheduler does when the estate it decided on is old by the time it binds. */
import { expect, it } from "vitest";
import { overriding } from "../../client/testing/overriding.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance } from "../../compute/kinds.ts";
import { openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { getCondition } from "../../resource/object.ts";
import { runScheduler } from "./scheduler.ts";

it("a host that was filled meanwhile is refused with the reason; the machine is placed on what there is then", async () => {
  const estate = await openEstate();
  const { client } = estate;
  await estate.hostFacts("a", { mhz: 3800 });
  await estate.hostFacts("b");
  await estate.runMachine("big", "a", { cpus: 4 });
  await estate.createMachine("web");
  await estate.instance("web-1");
  let refused = false;
  const behind = overriding(client, {
    list: async (kind, options) => {
      const list = await client.list(kind, options);
      return kind.kind !== Instance.kind || refused
        ? list
        : { ...list, items: list.items.filter(({ metadata }) => metadata.name !== "big-1") };
    },
  });
  const stop = new AbortController();
  const running = runScheduler({
    client: behind,
    clock: systemClock,
    log: silentLogger,
    signal: stop.signal,
  });
  const scheduled = (i: Instance) => getCondition(i.status?.conditions, "Scheduled");
  const waiting = await estate.instance("web-1", (i) => scheduled(i)?.status === "False", "refused");
  expect(scheduled(waiting)?.message).toContain("a was chosen, but: ");
  expect(scheduled(waiting)?.message).toContain("host a has 0 of 4 CPUs free, the machine needs 1");
  refused = true;
  // Anything that changes makes it look again.
  await client.patch(Host, { name: "b" }, { metadata: { labels: { seen: "yes" } } });
  const bound = await estate.instance("web-1", (i) => i.spec.host !== undefined, "bound");
  expect(bound.spec.host).toBe("b");
  stop.abort();
  await running;
  await estate.close();
});
