/** What the host says of itself, on recorded inputs; what is absent or odd becomes unknown, never a number that is none. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseCpu, parsePowerSupplies, readDisks, readLinks } from "./facts.ts";

/** /proc/cpuinfo as the kernel writes it: one block a logical CPU, each followed by an empty line. */
const cpuinfo = (cpus: readonly Record<string, string>[]) =>
  cpus
    .map((fields, index) =>
      [`processor\t: ${index}`, ...Object.entries(fields).map(([name, value]) => `${name}\t: ${value}`)].join(
        "\n",
      ),
    )
    .map((block) => `${block}\n\n`)
    .join("");

describe("/proc/cpuinfo", () => {
  it("of two sockets with two cores of two threads", () => {
    const model = "Intel(R) Xeon(R) CPU E5-2630 v3 @ 2.40GHz";
    const cpus = [0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => ({
      "model name": model,
      "cpu MHz": "1197.312",
      "physical id": String(cpu % 2),
      "core id": String((cpu >> 1) % 2),
    }));
    // The clock of the name, not the 1.2 GHz at which it idles now.
    expect(parseCpu(cpuinfo(cpus))).toEqual({
      model,
      sockets: 2,
      cores: 4,
      threads: 8,
      mhz: 2400,
      smt: true,
    });
  });
  it("whose model tells no clock: none, for the present one says nothing of it", () => {
    const cpu = { "model name": "AMD EPYC", "cpu MHz": "1500.098", "physical id": "0" };
    expect(
      parseCpu(
        cpuinfo([
          { ...cpu, "core id": "0" },
          { ...cpu, "core id": "1" },
        ]),
      ),
    ).toEqual({ model: "AMD EPYC", sockets: 1, cores: 2, threads: 2, mhz: 0, smt: false });
  });
  it("of an ARM server, which names neither model nor clock", () => {
    const arm = { BogoMIPS: "50.00", "CPU implementer": "0x41", "CPU part": "0xd0c" };
    expect(parseCpu(cpuinfo([arm, arm, arm]))).toEqual({
      model: "unknown",
      sockets: 1,
      cores: 3,
      threads: 3,
      mhz: 0,
      smt: false,
    });
  });
  it("tells of its generation and of what it can do: the level is that of which it has all", () => {
    const v1 = "fpu cx8 cmov mmx fxsr sse sse2 syscall lm";
    const v2 = `${v1} pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm`;
    const v3 = `${v2} fma movbe xsave avx f16c abm bmi1 avx2 bmi2`;
    const level = (flags: string) => parseCpu(cpuinfo([{ flags }])).level;
    expect([v1, v2, `${v2} avx avx2`, v3, `${v3} avx512f`].map(level)).toEqual([1, 2, 2, 3, 3]);
    expect(level(`${v3} avx512f avx512bw avx512cd avx512dq avx512vl`)).toBe(4);
    const amd = { vendor_id: "AuthenticAMD", "cpu family": "25", flags: `${v3} sev` };
    expect(parseCpu(cpuinfo([amd]))).toMatchObject({
      vendor: "AuthenticAMD",
      family: 25,
      level: 3,
      flags: `${v3} sev`.split(" "),
    });
    const { flags, ...arm } = parseCpu(cpuinfo([{ Features: "fp asimd aes" }]));
    expect(flags).toEqual(["fp", "asimd", "aes"]);
    for (const untold of ["vendor", "family", "level"]) expect(arm).not.toHaveProperty(untold);
  });
  it("with a colon in the model's name", () => {
    expect(parseCpu(cpuinfo([{ "model name": "Odd: CPU : 3" }])).model).toBe("Odd: CPU : 3");
  });
  it("that is absent", () => {
    expect(parseCpu("")).toEqual({ model: "unknown", sockets: 1, cores: 0, threads: 0, mhz: 0, smt: false });
  });
});

describe("dmidecode -t 39", () => {
  const RECORDED = `# dmidecode 3.4
Handle 0x0026, DMI type 39, 22 bytes
System Power Supply
	Power Unit Group: 1
	Location: PSU1
	Name: PWS-1K02A-1R
	Status: Present, OK
	Max Power Capacity: 1000 W
	Plugged: Yes

Handle 0x0027, DMI type 39, 22 bytes
System Power Supply
	Location: PSU2
	Name: PWS-1K02A-1R
	Status: Not Present
	Max Power Capacity: Unknown

Handle 0x0028, DMI type 39, 22 bytes
System Power Supply
	Location: PSU3
	Status: Present, Critical
	Max Power Capacity: Unknown
`;
  it("lists the power supplies that are there", () => {
    expect(parsePowerSupplies(RECORDED)).toEqual([
      { name: "PSU1", maxWatts: 1000, status: "Present, OK" },
      { name: "PSU3", maxWatts: 0, status: "Present, Critical" },
    ]);
    expect(parsePowerSupplies("")).toEqual([]);
  });
});

describe("any text", () => {
  const lines = fc.array(
    fc.oneof(
      fc.string(),
      fc.constantFrom("", "processor\t: 0"),
      fc
        .tuple(
          fc.constantFrom("model name", "cpu MHz", "physical id"),
          fc.oneof(fc.string(), fc.constantFrom("9e99", "1e400", "-3", "8 TB")),
        )
        .map(([name, value]) => `${name}: ${value}`),
    ),
  );
  it("gives whole numbers from 0, which the API accepts", () => {
    fc.assert(
      fc.property(lines, (text) => {
        const { sockets, cores, threads, mhz } = parseCpu(text.join("\n"));
        for (const number of [sockets, cores, threads, mhz]) {
          expect(Number.isSafeInteger(number)).toBe(true);
          expect(number).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

describe("sysfs", () => {
  let sys: string;
  beforeEach(() => {
    sys = mkdtempSync(join(tmpdir(), "vireo-sys-"));
  });
  afterEach(() => rmSync(sys, { recursive: true }));
  const put = (files: Record<string, string>) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(sys, path)), { recursive: true });
      writeFileSync(join(sys, path), text);
    }
  };

  it("lists disks with size, kind and model, and leaves out what is none", () => {
    put({
      "block/sda/size": "7814037168\n",
      "block/sda/queue/rotational": "1\n",
      "block/sda/device/model": "ST4000NM0035\n",
      "block/nvme0n1/size": "1953525168\n",
      "block/nvme0n1/queue/rotational": "0\n",
      "block/nvme0n1/device/model": "SAMSUNG MZ1LB960\n",
      "block/vda/size": "what\n",
      "block/loop0/size": "8\n",
      "block/zram0/size": "8\n",
      "block/dm-0/size": "8\n",
      "block/md127/size": "8\n",
      "block/sr0/size": "8\n",
    });
    expect(readDisks(sys)).toEqual([
      {
        name: "nvme0n1",
        sizeBytes: 1953525168 * 512,
        kind: "ssd",
        model: "SAMSUNG MZ1LB960",
        transport: "nvme",
      },
      { name: "sda", sizeBytes: 7814037168 * 512, kind: "hdd", model: "ST4000NM0035" },
      { name: "vda", sizeBytes: 0, kind: "unknown", model: "" },
    ]);
  });

  it("tells how disks are connected, by where they are among the devices", () => {
    const pci = "devices/pci0000:00/0000:00:17.0";
    const at = {
      sda: `${pci}/ata1/host0/target0:0:0/0:0:0:0/block/sda`,
      sdb: `${pci}/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb`,
      sdc: `${pci}/host1/port-1:0/end_device-1:0/target1:0:0/1:0:0:0/block/sdc`,
      sdd: `${pci}/host2/target2:2:0/2:2:0:0/block/sdd`,
      vda: `${pci}/virtio1/block/vda`,
    };
    mkdirSync(join(sys, "block"), { recursive: true });
    for (const [name, path] of Object.entries(at)) {
      put({ [`${path}/size`]: "8\n" });
      symlinkSync(join(sys, path), join(sys, "block", name));
    }
    expect(readDisks(sys).map(({ name, transport }) => [name, transport])).toEqual([
      ["sda", "sata"],
      ["sdb", "usb"],
      ["sdc", "sas"],
      ["sdd", undefined],
      ["vda", "virtio"],
    ]);
  });

  const LINKS = {
    "class/net/eno1/device/vendor": "0x8086\n",
    "class/net/eno1/address": "3c:ec:ef:00:00:01\n",
    "class/net/eno1/speed": "10000\n",
    "class/net/eno1/operstate": "up\n",
    "class/net/eno2/device/vendor": "0x8086\n",
    "class/net/eno2/speed": "-1\n",
    "class/net/eno2/operstate": "down\n",
    "class/net/veth9/address": "02:00:00:00:00:09\n",
    "class/net/veth9/speed": "10000\n",
    "class/net/veth9/operstate": "up\n",
    "class/net/vrb1/speed": "10000\n",
    "class/net/lo/operstate": "unknown\n",
  };
  it("lists physical links; unknown speeds are 0", () => {
    put(LINKS);
    expect(readLinks(false, sys)).toEqual([
      { name: "eno1", mac: "3c:ec:ef:00:00:01", mbps: 10000, up: true },
      { name: "eno2", mac: "", mbps: 0, up: false },
    ]);
    put({ "class/net/eno1/speed": "fast\n" });
    expect(readLinks(false, sys)[0]?.mbps).toBe(0);
  });
  it("of a development host: what plays the physical links", () => {
    put(LINKS);
    expect(readLinks(true, sys).map(({ name }) => name)).toEqual(["eno1", "eno2", "veth9"]);
  });
  it("that is absent gives none", () => {
    expect(readDisks(sys)).toEqual([]);
    expect(readLinks(false, sys)).toEqual([]);
  });
});
