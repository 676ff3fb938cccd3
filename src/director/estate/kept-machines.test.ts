/** What is kept of machines does not grow with those that were there once. */
import { expect, it } from "vitest";
import type { VirtualMachine } from "../../compute/kinds.ts";
import { KeptMachines } from "./kept-machines.ts";

const vm = (uid: string): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name: uid, namespace: "default", uid },
  spec: {} as never,
});

it("changes are gathered only while somebody asks for them", () => {
  const machines = new KeptMachines();
  machines.update([vm("a")], []);
  machines.update([], []);
  expect(machines.takeChanged()).toEqual(new Set());
  machines.update([vm("b")], []);
  expect(machines.takeChanged()).toEqual(new Set(["b"]));
  machines.update([], []);
  machines.ignoreChanged();
  machines.update([vm("c")], []);
  expect(machines.takeChanged()).toEqual(new Set());
});
