/** What this host is made of, read from /proc, /sys and dmidecode. Parsers are pure; what cannot be read is said to be unknown. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { release, totalmem } from "node:os";
import { join } from "node:path";
import type { HostFacts } from "../compute/kinds.ts";
import { type AcceleratorVerdict, probeAccelerator } from "../qemu/accelerator.ts";
import { run } from "../system/run.ts";

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

/** From /proc/cpuinfo. MHz is the nominal clock of the model's name when it tells one, else the present clock. */
export function parseCpu(cpuinfo: string): HostFacts["cpu"] {
  const cpus = cpuinfo
    .split(/\n\n+/)
    .map(
      (block) =>
        new Map(block.split("\n").map((line) => line.split(/\s*:\s*/, 2) as [string, string | undefined])),
    )
    .filter((fields) => fields.has("processor"));
  const first = cpus[0];
  const model = first?.get("model name") ?? "unknown";
  const sockets = new Set(cpus.map((fields) => fields.get("physical id") ?? "0")).size || 1;
  const cores = new Set(
    cpus.map((fields) => `${fields.get("physical id")}/${fields.get("core id") ?? fields.get("processor")}`),
  ).size;
  const named = /@\s*([\d.]+)\s*GHz/.exec(model)?.[1];
  return {
    model,
    sockets,
    cores: cores || cpus.length,
    threads: cpus.length,
    mhz: Math.round(named ? Number(named) * 1000 : Number(first?.get("cpu MHz") ?? 0)),
  };
}

const SIZES: Record<string, number> = { MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };

/** From `dmidecode -t memory`; empty slots are left out. */
export function parseMemoryModules(text: string): HostFacts["memory"]["modules"] {
  return text.split(/\n\n+/).flatMap((block) => {
    if (!/^\s*Memory Device/m.test(block)) return [];
    const field = (name: string) => new RegExp(`^\\s*${name}:\\s*(.+)$`, "m").exec(block)?.[1] ?? "";
    const size = /^(\d+) (MB|GB|TB)/.exec(field("Size"));
    if (!size) return [];
    return [
      {
        locator: field("Locator"),
        sizeBytes: Number(size[1]) * (SIZES[size[2] ?? ""] ?? 0),
        type: field("Type"),
        speedMTs: Number(/^(\d+)/.exec(field("Speed"))?.[1] ?? 0),
      },
    ];
  });
}

function readDisks(): HostFacts["disks"] {
  return names("/sys/block")
    .filter((name) => !/^(loop|ram|zram|dm-|md|sr|fd|nbd)/.test(name))
    .map((name) => {
      const at = (file: string) => read(join("/sys/block", name, file));
      const rotational = at("queue/rotational");
      return {
        name,
        sizeBytes: Number(at("size") ?? 0) * 512,
        kind:
          rotational === "0"
            ? ("ssd" as const)
            : rotational === "1"
              ? ("hdd" as const)
              : ("unknown" as const),
        model: at("device/model") ?? "",
      };
    });
}

/** Physical links, and those that play them in a development host's namespace (veth). Ours and loopback are left out. */
function readLinks(): HostFacts["links"] {
  return names("/sys/class/net")
    .filter((name) => name !== "lo" && !/^vr[bxtd]/.test(name))
    .map((name) => {
      const at = (file: string) => read(join("/sys/class/net", name, file));
      return {
        name,
        mac: at("address") ?? "",
        mbps: Math.max(0, Number(at("speed") ?? 0)),
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

/** @throws Error when QEMU is not installed */
export async function readFacts(stateFolder: string, profile?: DeclaredProfile): Promise<HostFacts> {
  const version = /version (\S+)/.exec(await run("qemu-system-x86_64", ["--version"]))?.[1] ?? "unknown";
  const bootId = read("/proc/sys/kernel/random/boot_id") ?? "";
  const verdict = await accelerator(stateFolder, `${bootId} ${release()} ${version}`);
  const modules = await run("dmidecode", ["-t", "memory"]).then(parseMemoryModules, () => []);
  const power = profile?.power;
  return {
    source: profile ? "declared" : "measured",
    cpu: profile?.cpu ?? parseCpu(read("/proc/cpuinfo") ?? ""),
    memory: profile ? { totalBytes: profile.memoryBytes, modules: [] } : { totalBytes: totalmem(), modules },
    disks: readDisks(),
    links: readLinks(),
    ...(power ? { power } : {}),
    qemu: { version, accelerator: verdict.accelerator, reason: verdict.reason },
    kernel: release(),
    bootId,
  };
}
