/** The nominal clock of the host's processors. What /proc/cpuinfo calls "cpu MHz" is on most hosts the frequency of that very moment, which says nothing of the host. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A whole number, or 0 for what is none. */
const whole = (value: number): number => {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) && rounded > 0 ? rounded : 0;
};

/**
 * By /proc/cpuinfo, MHz: that of the model's name; where a hypervisor is below and hides how fast the processor really runs, what Linux has measured once. 0: it tells none.
 * @param fields of one of its processors
 */
export function clockIn(fields: ReadonlyMap<string, string> | undefined): number {
  const named = /@\s*([\d.]+)\s*GHz/.exec(fields?.get("model name") ?? "")?.[1];
  if (named) return whole(Number(named) * 1000);
  const flags = fields?.get("flags")?.split(/\s+/) ?? [];
  const isFixed = flags.includes("hypervisor") && !flags.includes("aperfmperf");
  return isFixed ? whole(Number(fields?.get("cpu MHz"))) : 0;
}

/** From `dmidecode -t processor`: that of the first processor that is there, MHz; 0: none tells it. QEMU tells every guest the same. */
export function parseProcessorClock(text: string): number {
  for (const block of text.split(/\n\n+/)) {
    const field = (name: string) => new RegExp(`^\\s*${name}:\\s*(.+)$`, "m").exec(block)?.[1] ?? "";
    if (!/^\s*Processor Information/m.test(block) || field("Manufacturer") === "QEMU") continue;
    const mhz = whole(Number(/^(\d+) MHz/.exec(field("Current Speed"))?.[1]));
    if (mhz) return mhz;
  }
  return 0;
}

/** As the processor's driver (intel_pstate) or the firmware (ACPI CPPC) tells it to Linux, MHz; 0: neither does. @param sys where sysfs is mounted */
export function readClock(sys = "/sys"): number {
  const at = (file: string) => {
    try {
      return whole(Number(readFileSync(join(sys, "devices/system/cpu/cpu0", file), "utf8")));
    } catch {
      return 0;
    }
  };
  return whole(at("cpufreq/base_frequency") / 1000) || at("acpi_cppc/nominal_freq");
}
