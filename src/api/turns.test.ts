/** Rules across objects under concurrency: what the chain of custody of a machine's disks rests on. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import { at, Machine, type MachineStack, openMachines } from "./testing/machines.ts";

/** At most one machine is Held at a time. */
const onlyOneHolder: Kind<Machine>["check"] = (object, old, lookup) => {
  if (object.status?.phase !== "Held" || old?.status?.phase === "Held") return [];
  const holder = lookup
    .list(Machine)
    .find((other) => other.metadata.name !== object.metadata.name && other.status?.phase === "Held");
  return holder
    ? [{ field: "status.phase", reason: "FieldValueForbidden", message: `${holder.metadata.name} holds` }]
    : [];
};

let stack: MachineStack;
beforeEach(async () => {
  stack = await openMachines(onlyOneHolder);
});
afterEach(() => stack.remove());

const set = (name: string, phase: string) =>
  stack.client.patch(Machine, at(name), { status: { phase } }, { subresource: "status" });

it("one of many that want the same at once gets it", async () => {
  const names = Array.from({ length: 20 }, (_, i) => `m${i}`);
  await Promise.all(names.map((name) => stack.create(name)));
  const results = await Promise.allSettled(names.map((name) => set(name, "Held")));
  expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
  for (const result of results)
    if (result.status === "rejected") expect(isApiError(result.reason, "Invalid")).toBe(true);
});

it("nobody takes over on the word of a release that did not become durable", async () => {
  await Promise.all(["a", "b"].map((name) => stack.create(name)));
  const held = await set("a", "Held");
  // This release is stale by the time it is its turn: it fails, and with it b's claim, which was made on its heels.
  const touch = stack.client.patch(Machine, at("a"), { metadata: { labels: { x: "y" } } });
  const release = stack.client.updateStatus(Machine, { ...held, status: { phase: "Released" } });
  const claim = set("b", "Held");
  const [, released, claimed] = await Promise.allSettled([touch, release, claim]);
  expect([released.status, claimed.status]).toEqual(["rejected", "rejected"]);
  // In this order both are right.
  const all = await Promise.allSettled([set("a", "Released"), set("b", "Held")]);
  expect(all.map((result) => result.status)).toEqual(["fulfilled", "fulfilled"]);
});

it("at no time do two hold, whatever comes in between", async () => {
  const names = ["a", "b", "c", "d"];
  await Promise.all(names.map((name) => stack.create(name)));
  const holders = new Set<string>();
  let most = 0;
  let claims = 0;
  const { resourceVersion } = await stack.client.list(Machine);
  const kind = stack.operations.kinds.find((k) => k.kind === "Machine");
  if (!kind) throw new Error("the kind is not served");
  const stop = await stack.operations.watch(kind, { resourceVersion }, (event) => {
    if (event.type === "BOOKMARK") return;
    const { name } = event.object.metadata;
    if (JSON.stringify(event.object.status) === '{"phase":"Held"}') holders.add(name);
    else holders.delete(name);
    most = Math.max(most, holders.size);
  });
  await Promise.all(
    names.map(async (name) => {
      for (let i = 0; i < 50; i++) {
        const got = await set(name, "Held").then(
          () => true,
          () => false,
        );
        if (got) claims++;
        await set(name, "Released");
      }
    }),
  );
  stop();
  expect(most).toBe(1);
  expect(claims).toBeGreaterThan(10);
});

it("who looks over those whose names begin so is told of no others", async () => {
  const seen: string[][] = [];
  const own = await openMachines(({ metadata }, _old, lookup) => {
    seen.push(lookup.list(Machine, metadata.namespace, "a-").map((each) => each.metadata.name));
    return [];
  });
  for (const name of ["a-1", "b-1", "a", "ab", "a-2"]) await own.create(name);
  await own.remove();
  expect(seen.at(-1)).toEqual(["a-1"]);
});
