/** What this host is made of, read from /proc, /sys and dmidecode. Its parsers do no I/O; what cannot be read is said to be unknown. */

import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { release, totalmem } from "node:os";
import { join } from "node:path";
import type { Offer } from "../compute/hardware/kinds.ts";
import type { HostFacts } from "../compute/hosts/kinds.ts";
import { type AcceleratorVerdict, probeAccelerator } from "../qemu/accelerator.ts";
import { type Capabilities, readCapabilities } from "../qemu/capabilities.ts";
import { bootId } from "../system/boot-id.ts";
import { run } from "../system/run.ts";
import { clockIn, parseProcessorClock, readClock } from "./clock.ts";
import { readSwap } from "./memory-left.ts";
import { onNodes, parseMemoryModules } from "./memory-modules.ts";
import { isOwnLink } from "./network/network-names.ts";
import { readOffers } from "./offers.ts";
import { readTopology } from "./qemu/topology.ts";
import { modelWatts } from "./watts-model.ts";
import { readAddressLink, readNetworks } from "./wire.ts";

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
};

const names = (path: string): string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** A whole number, or 0 for what is none: NaN would become null in JSON, and the API would refuse all facts for it. */
const whole = (text: string | undefined): number => {
  const value = Math.round(Number(text));
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
};

/** From /proc/cpuinfo. */
export function parseCpu(cpuinfo: string): HostFacts["cpu"] {
  const cpus = cpuinfo
    .split(/\n\n+/)
    .map(
      (block) =>
        new Map(
          block
            .split("\n")
            .map((line) => /^(.*?)\s*:\s*(.*)$/.exec(line) ?? ["", "", ""])
            .map(([, name = "", value = ""]) => [name, value] as const),
        ),
    )
    .filter((fields) => fields.has("processor"));
  const first = cpus[0];
  const model = first?.get("model name") || "unknown";
  const sockets = new Set(cpus.map((fields) => fields.get("physical id") ?? "0")).size || 1;
  const cores = new Set(
    cpus.map((fields) => `${fields.get("physical id")}/${fields.get("core id") ?? fields.get("processor")}`),
  ).size;
  return {
    model,
    sockets,
    cores: cores || cpus.length,
    threads: cpus.length,
    smt: (cores || cpus.length) < cpus.length,
    mhz: clockIn(first),
    ...generationOf(first),
  };
}

/** What an x86-64 processor of each microarchitecture level has besides what the level below has (psABI), as Linux calls it. */
const LEVELS = [
  ["lm", "cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"],
  ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
  ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
  ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/** Of ARM only what it can do ("Features"). */
function generationOf(fields: ReadonlyMap<string, string> | undefined): Partial<HostFacts["cpu"]> {
  const vendor = fields?.get("vendor_id");
  const family = whole(fields?.get("cpu family"));
  const flags = (fields?.get("flags") ?? fields?.get("Features"))?.split(/\s+/).filter(Boolean) ?? [];
  const lacking = LEVELS.findIndex((all) => !all.every((flag) => flags.includes(flag)));
  const level = lacking < 0 ? LEVELS.length : lacking;
  return {
    ...(vendor ? { vendor } : {}),
    ...(family ? { family } : {}),
    ...(level ? { level } : {}),
    ...(flags.length > 0 ? { flags } : {}),
  };
}

/** With the clock that is known best. */
async function readCpu(): Promise<HostFacts["cpu"]> {
  const cpu = parseCpu(read("/proc/cpuinfo") ?? "");
  const told = readClock() || cpu.mhz;
  const mhz = told || (await run("dmidecode", ["-t", "processor"]).then(parseProcessorClock, () => 0));
  return { ...cpu, mhz };
}

/** From `dmidecode -t 39`; empty bays are left out. */
export function parsePowerSupplies(text: string): NonNullable<HostFacts["powerSupplies"]> {
  return text.split(/\n\n+/).flatMap((block) => {
    if (!/^\s*System Power Supply/m.test(block)) return [];
    const field = (name: string) => new RegExp(`^\\s*${name}:\\s*(.+)$`, "m").exec(block)?.[1]?.trim() ?? "";
    const status = field("Status");
    if (/^Not Present/.test(status)) return [];
    const watts = /^(\d+) (m?)W/.exec(field("Max Power Capacity"));
    const maxWatts = watts ? whole(`${Number(watts[1]) / (watts[2] ? 1000 : 1)}`) : 0;
    return [{ name: field("Location") || field("Name"), maxWatts, status }];
  });
}

/** @param sys where sysfs is mounted */
export function readDisks(sys = "/sys"): HostFacts["disks"] {
  return names(join(sys, "block"))
    .filter((name) => !/^(loop|ram|zram|dm-|md|sr|fd|nbd)/.test(name))
    .map((name) => {
      const at = (file: string) => read(join(sys, "block", name, file));
      const rotational = at("queue/rotational");
      return {
        name,
        sizeBytes: whole(at("size")) * 512,
        kind:
          rotational === "0"
            ? ("ssd" as const)
            : rotational === "1"
              ? ("hdd" as const)
              : ("unknown" as const),
        model: at("device/model") ?? "",
        ...transportOf(join(sys, "block", name)),
      };
    });
}

/** By where it is among the host's devices: a path of sysfs. */
function transportOf(link: string): Pick<HostFacts["disks"][number], "transport"> {
  let path: string;
  try {
    path = realpathSync(link);
  } catch {
    return {};
  }
  for (const [pattern, transport] of TRANSPORTS) if (pattern.test(path)) return { transport };
  return {};
}

/** The first that fits: what is on USB is often SCSI, too, and virtio may have a SCSI controller. */
const TRANSPORTS = [
  [/\/usb\d/, "usb"],
  [/\/virtio\d/, "virtio"],
  [/\/nvme/, "nvme"],
  [/\/end_device-/, "sas"],
  [/\/ata\d/, "sata"],
] as const;

/**
 * Physical links: those with a device, so no bridge, tap or container's link. A development host's namespace has none: there what is
 * neither ours nor loopback plays them. @param sys where sysfs is mounted
 */
export function readLinks(development = false, sys = "/sys"): HostFacts["links"] {
  const folder = join(sys, "class/net");
  return names(folder)
    .filter((name) =>
      development ? name !== "lo" && !isOwnLink(name) : existsSync(join(folder, name, "device")),
    )
    .map((name) => {
      const at = (file: string) => read(join(folder, name, file));
      return {
        name,
        mac: at("address") ?? "",
        mbps: whole(at("speed")),
        up: at("operstate") === "up",
      };
    });
}

/** The timed probe takes up to 2.5 s, and its answer changes only with the boot and with QEMU: kept in `stateFolder`. */
async function accelerator(stateFolder: string, key: string): Promise<AcceleratorVerdict> {
  const path = join(stateFolder, "accelerator.json");
  try {
    const kept: unknown = JSON.parse(read(path) ?? "");
    // Written below, by this program, in a folder of its own.
    if (typeof kept === "object" && kept !== null && Reflect.get(kept, "key") === key)
      return Reflect.get(kept, "verdict") as AcceleratorVerdict;
  } catch {
    // none yet
  }
  const verdict = await probeAccelerator();
  writeFileSync(path, JSON.stringify({ key, verdict }), { mode: 0o600 });
  return verdict;
}

/** The part of the facts that a development host declares instead of measuring. */
export interface DeclaredProfile {
  cpu: HostFacts["cpu"];
  memoryBytes: number;
  power?: HostFacts["power"];
}

/** Of all the architectures that there are here; their names do not collide. */
async function capabilities(own: "kvm" | "tcg", offers: readonly Offer[]): Promise<Capabilities> {
  const x86 = await readCapabilities("qemu-system-x86_64", own);
  if (!offers.includes("aarch64")) return x86;
  const arm = await readCapabilities("qemu-system-aarch64", "tcg");
  return {
    machineTypes: [...x86.machineTypes, ...arm.machineTypes],
    guestCpus: [...new Set([...x86.guestCpus, ...arm.guestCpus])],
  };
}

/** Nobody has measured it; what is known of servers with such processors. */
function powerOf(cpu: HostFacts["cpu"]): HostFacts["power"] {
  const modelled = modelWatts(cpu);
  if (!modelled) return undefined;
  const { curve, like } = modelled;
  return { idleWatts: curve[0] ?? 0, maxWatts: curve.at(-1) ?? 0, curve, modelled: like };
}

/** @param address where other hosts reach it @throws Error when QEMU is not installed */
export async function readFacts(
  stateFolder: string,
  address: string,
  profile?: DeclaredProfile,
): Promise<HostFacts> {
  const version = /version (\S+)/.exec(await run("qemu-system-x86_64", ["--version"]))?.[1] ?? "unknown";
  const verdict = await accelerator(stateFolder, `${bootId()} ${release()} ${version}`);
  const { nodes } = readTopology();
  const modules = await run("dmidecode", ["-t", "memory"]).then(
    (text) => onNodes(parseMemoryModules(text), nodes),
    () => [],
  );
  const supplies = await run("dmidecode", ["-t", "39"]).then(parsePowerSupplies, () => []);
  const cpu = profile?.cpu ?? (await readCpu());
  const power = profile ? profile.power : powerOf(cpu);
  const offers = await readOffers();
  const addressLink = readAddressLink(address, profile !== undefined);
  return {
    source: profile ? "declared" : "measured",
    cpu,
    memory: profile
      ? { totalBytes: profile.memoryBytes, modules: [] }
      : { totalBytes: totalmem(), swapBytes: readSwap().totalBytes, modules },
    // A development host has a part of a machine whose CPUs it does not know.
    ...(profile ? {} : { numaNodes: nodes }),
    disks: readDisks(),
    links: readLinks(profile !== undefined),
    ...(addressLink ? { addressLink } : {}),
    networks: readNetworks(profile !== undefined),
    ...(profile || supplies.length === 0 ? {} : { powerSupplies: supplies }),
    ...(power ? { power } : {}),
    qemu: {
      version,
      accelerator: verdict.accelerator,
      reason: verdict.reason,
      ...(await capabilities(verdict.accelerator, offers)),
      offers,
    },
    kernel: release(),
    bootId: bootId(),
  };
}
