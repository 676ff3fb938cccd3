import { expect, it } from "vitest";
import type { HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { feasibility } from "./feasible.ts";

const host = (name: string, mhz: number, ssd: boolean): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 8,
  memoryBytes: 2 ** 33,
  mhz,
  cores: 4,
  cpuModel: "x",
  accelerator: "kvm",
  ssd,
  linkMbps: 1000,
});
const HOSTS = [host("a", 3000, false), host("b", 3000, false), host("c", 2000, true)];
const MACHINE: MachineView = {
  key: "default/m",
  namespace: "default",
  name: "m",
  labels: {},
  cpus: 4,
  memoryBytes: 2 ** 30,
  movable: true,
  since: 0,
};

function told(required: string[], machines: MachineView[] = [], hosts = HOSTS): string | undefined {
  const policy: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "p", namespace: "default" },
    spec: { selector: {}, automation: "act", priority: 0, required },
  };
  const of = feasibility(indexOf({ hosts, machines, policies: [policy], odd: [] }), policy);
  return of && `${of.feasible}: ${of.message}`;
}

it("tells how many hosts keep the rules, or which rules are at fault", () => {
  expect(told(["host.cpu.mhz >= 3000"])).toBe("true: 2 of 3 hosts keep its required rules");
  expect(told(["host.cpu.mhz >= 2000", "host.cpu.mhz >= 4000"])).toBe(
    "false: none of 3 hosts keeps host.cpu.mhz >= 4000",
  );
  expect(told(["host.cpu.mhz >= 2000", "host.cpu.mhz >= 3000", "host.disk.ssd"])).toBe(
    "false: 2 of 3 hosts keep host.cpu.mhz >= 3000, 1 keep host.disk.ssd, and none keeps both",
  );
  const three = ['host.name != "a"', 'host.name != "b"', 'host.name != "c"'];
  expect(told(three)).toBe("false: none of 3 hosts keeps all of its required rules");
  expect(told([])).toBeUndefined();
  expect(told(["host.disk.ssd"], [], [])).toBeUndefined();
});

it("rules about machines are told by one of them", () => {
  expect(told(["machine.cpus * 2 <= host.cpu.cores"])).toBeUndefined();
  expect(told(["machine.cpus * 2 <= host.cpu.cores"], [MACHINE])).toBe(
    "false: none of 3 hosts keeps machine.cpus * 2 <= host.cpu.cores",
  );
});

it("each machine is judged, those that are alike once", () => {
  const large = { ...MACHINE, key: "default/n", name: "n", cpus: 12 };
  const rule = ["machine.cpus <= host.cpu.cores"];
  expect(told(rule, [MACHINE, large])).toBe(
    "false: machine n: none of 3 hosts keeps machine.cpus <= host.cpu.cores",
  );
  const small = { ...MACHINE, key: "default/o", name: "o", cpus: 1 };
  const hosts = [...HOSTS, { ...host("d", 2000, true), cores: 2 }];
  expect(told(rule, [small, MACHINE], hosts)).toBe("true: 3 of 4 hosts keep its required rules");
});
