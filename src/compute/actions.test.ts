import { expect, it } from "vitest";
import type { Schema } from "../resource/schema.ts";
import { machinePart } from "./actions.ts";
import { Instance, VirtualMachine } from "./kinds.ts";

it("a run copies nothing of its machine that an instance does not have: the server would refuse it", () => {
  const fields = ({ schema }: { schema: Schema }) => Object.keys(schema.properties?.spec?.properties ?? {});
  // Only the names matter here.
  const all = Object.fromEntries(fields(VirtualMachine).map((name) => [name, true]));
  const copied = Object.keys(machinePart({ spec: { ...all, disks: [] } } as unknown as VirtualMachine));
  expect(copied.length).toBeGreaterThan(5);
  expect(copied.filter((name) => !fields(Instance).includes(name))).toEqual([]);
});
