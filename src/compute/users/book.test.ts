import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { modify } from "../../client/client.ts";
import { VirtualMachine } from "../kinds.ts";
import { type Estate, NS, openEstate } from "../testing/estate.ts";
import { freeUser } from "./book.ts";
import { FIRST_USER, firstChoice } from "./kinds.ts";

it("gives every machine a user of its own, also those whose uids begin alike", () => {
  fc.assert(
    fc.property(fc.array(fc.uuid(), { minLength: 1, maxLength: 50 }), (uids) => {
      const taken = new Set<number>();
      // The same first four digits: all want the same.
      for (const uid of new Set(uids.map((uid) => `0000${uid.slice(4)}`))) {
        const user = freeUser(uid, taken);
        expect(taken.has(user)).toBe(false);
        expect(user).toBeGreaterThanOrEqual(FIRST_USER);
        expect(user).toBeLessThan(2 ** 31);
        taken.add(user);
      }
    }),
  );
});

it("is the one that machines had before there was a choice, when nobody has it", () => {
  const uid = "1234abcd-0000-4000-8000-000000000000";
  expect(freeUser(uid, new Set())).toBe(firstChoice(uid));
  expect(firstChoice(uid)).toBe(204_661);
});

describe("of two machines that want the same user", () => {
  let estate: Estate;
  afterEach(() => estate.close());

  it("the second is given another, on its run and its moves, and keeps it", async () => {
    estate = await openEstate();
    const { client } = estate;
    await estate.createMachine("one", { running: false });
    await estate.createMachine("two", { running: false });
    const two = await estate.vm("two", () => true);
    const wanted = firstChoice(two.metadata.uid ?? "");
    await modify(client, VirtualMachine, { name: "one", namespace: NS }, "status", (vm) => ({
      ...vm,
      status: { ...vm.status, user: wanted },
    }));
    await client.patch(VirtualMachine, { name: "two", namespace: NS }, { spec: { running: true } });
    const { spec } = await estate.instance("two-1");
    expect(spec.user).toBeGreaterThan(265_536);
    const started = await estate.vm("two", (vm) => vm.status?.instance === "two-1");
    expect(started.status?.user).toBe(spec.user);
  });

  it("the API lets none have another's", async () => {
    estate = await openEstate();
    const { client } = estate;
    const give = (name: string) =>
      modify(client, VirtualMachine, { name, namespace: NS }, "status", (vm) => ({
        ...vm,
        status: { ...vm.status, user: 300_000 },
      }));
    await estate.createMachine("one", { running: false });
    await estate.createMachine("two", { running: false });
    await give("one");
    await expect(give("two")).rejects.toThrow("machine one has this user");
  });
});
