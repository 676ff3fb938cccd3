/** What is read from the store: objects that have the same field sets share them, and what is odd is left as it is. */
import { expect, it } from "vitest";
import { parseStored } from "./changed-objects.ts";

const stored = (managedFields: unknown) =>
  JSON.stringify({ apiVersion: "v1", kind: "Thing", metadata: { name: "a", managedFields } });
const setsOf = (value: string) =>
  parseStored(value, 7).metadata.managedFields?.map(({ fieldsV1 }) => fieldsV1);

it("objects share field sets that are alike", () => {
  const by = (manager: string, field: string) => ({
    manager,
    operation: "Update",
    fieldsV1: { "f:spec": { [field]: {} } },
  });
  const [first, second] = setsOf(stored([by("cli", "f:cpus"), by("web", "f:memory")])) ?? [];
  const [third, fourth] = setsOf(stored([by("other", "f:cpus"), by("web", "f:disks")])) ?? [];
  expect(third).toBe(first);
  expect(first).toEqual({ "f:spec": { "f:cpus": {} } });
  expect(second).toEqual({ "f:spec": { "f:memory": {} } });
  expect(fourth).toEqual({ "f:spec": { "f:disks": {} } });
});

it.each([[7], ["text"], [[null]], [[{}]], [[7]], [null]])("what is odd is left as it is: %j", (odd) => {
  expect(parseStored(stored(odd), 7).metadata).toEqual({
    name: "a",
    managedFields: odd,
    resourceVersion: "7",
  });
});
