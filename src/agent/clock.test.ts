/** The clock that a host is told by: what is nominal, never what it happens to run at. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clockIn, parseProcessorClock, readClock } from "./clock.ts";

const EPYC = { "model name": "AMD EPYC 9354 32-Core Processor", "cpu MHz": "1500.000" };
const of = (fields: Record<string, string>) => clockIn(new Map(Object.entries(fields)));

describe("/proc/cpuinfo", () => {
  it("has it in the model's name, or not at all: the present clock is none", () => {
    expect(of({ "model name": "Intel(R) Xeon(R) CPU E5-2630 v3 @ 2.40GHz", "cpu MHz": "1197.312" })).toBe(
      2400,
    );
    expect(of({ ...EPYC, flags: "fpu aperfmperf" })).toBe(0);
    expect(of(EPYC)).toBe(0);
    expect(clockIn(undefined)).toBe(0);
  });
  it("of a host that is a virtual machine itself has what Linux measured once", () => {
    expect(of({ ...EPYC, "cpu MHz": "2596.098", flags: "fpu hypervisor" })).toBe(2596);
    expect(of({ ...EPYC, flags: "fpu hypervisor aperfmperf" })).toBe(0);
  });
  it("with what is no number has none", () => {
    expect(of({ "model name": "X @ 1.2.3GHz" })).toBe(0);
    expect(of({ "cpu MHz": "unknown", flags: "hypervisor" })).toBe(0);
  });
});

describe("dmidecode -t processor", () => {
  const block = (current: string, manufacturer = "Advanced Micro Devices, Inc.") => `
Handle 0x0004, DMI type 4, 48 bytes
Processor Information
	Socket Designation: CPU1
	Manufacturer: ${manufacturer}
	Max Speed: 3800 MHz
	Current Speed: ${current}
	Status: Populated, Enabled
`;
  it("tells that of the first processor that is there", () => {
    expect(parseProcessorClock(`# dmidecode 3.4\n${block("Unknown")}\n${block("3250 MHz")}`)).toBe(3250);
    expect(parseProcessorClock(block("2000 MHz", "QEMU"))).toBe(0);
    expect(parseProcessorClock("")).toBe(0);
  });
});

describe("sysfs", () => {
  let sys: string;
  beforeEach(() => {
    sys = mkdtempSync(join(tmpdir(), "vireo-clock-"));
  });
  afterEach(() => rmSync(sys, { recursive: true }));
  const put = (file: string, text: string) => {
    const path = join(sys, "devices/system/cpu/cpu0", file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  it("tells it by the driver, else by the firmware", () => {
    expect(readClock(sys)).toBe(0);
    put("acpi_cppc/nominal_freq", "3250\n");
    expect(readClock(sys)).toBe(3250);
    put("cpufreq/base_frequency", "2100000\n");
    expect(readClock(sys)).toBe(2100);
    put("cpufreq/base_frequency", "<unknown>\n");
    expect(readClock(sys)).toBe(3250);
  });
});
