import { expect, it } from "vitest";
import type { Has } from "../../compute/changes/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { isSameHardware } from "./same-hardware.ts";

const nic = (n: number) => ({ network: `n${n}`, mac: `52:54:00:00:00:0${n}`, address: `10.0.${n}.2` });
const has: Has = {
  ports: 0,
  disks: [{ name: "data" }, { name: "logs" }],
  interfaces: [nic(1), nic(2)],
};
const here = {
  disks: ["logs", "data"],
  nics: [],
  fixed: { disks: ["data", "logs"], nics: ["525400000001", "525400000002"] },
  cpus: 1,
  modules: [],
};
const source = (hardware: Instance["spec"]["hardware"] = {}): Pick<Instance, "spec" | "status"> => ({
  spec: {
    vm: "web",
    vmUid: "u",
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    interfaces: [],
    hardware,
  },
  status: { has },
});

it("is the same when each disk and card is in its place", () => {
  expect(isSameHardware(has, source(), here)).toBe(true);
  // What has a port is found by that.
  const two = [
    { name: "data", port: 1 },
    { name: "logs", port: 0 },
  ];
  const hot = { ...here, fixed: { ...here.fixed, disks: [] } };
  expect(isSameHardware({ ...has, disks: two }, source(), hot)).toBe(true);
});

it("is not when two have swapped places, or one is missing or too many", () => {
  const swapped = (change: Partial<Has>) => isSameHardware({ ...has, ...change }, source(), here);
  expect(swapped({ disks: has.disks.toReversed() })).toBe(false);
  expect(swapped({ interfaces: has.interfaces.toReversed() })).toBe(false);
  expect(swapped({ disks: has.disks.slice(1) })).toBe(false);
  expect(swapped({ disks: [...has.disks, { name: "more" }] })).toBe(false);
});

it("a disk that an IDE board cannot have is in neither", () => {
  const disks = [{ name: "data" }, { name: "iso", readOnly: true }, { name: "logs" }];
  expect(isSameHardware({ ...has, disks }, source({ board: "pc", disks: "ide" }), here)).toBe(true);
  expect(isSameHardware({ ...has, disks }, source({ board: "pc" }), here)).toBe(false);
});
