import { describe, expect, it } from "vitest";
import { HYPERV, TODAY } from "./board.ts";
import { commandLine, type Machine, type RunFiles } from "./command-line.ts";
import type { Disk } from "./devices.ts";
import { fixedDevices } from "./fixed.ts";

const files: RunFiles = {
  qmp: "/run/m/s/qmp",
  guestAgent: "/run/m/s/qga",
  serialSocket: "/run/m/s/serial",
  vnc: "/run/m/s/vnc",
};
const machine: Machine = {
  uuid: "8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11",
  name: "web",
  cpus: 2,
  memoryMiB: 512,
  disks: [
    { path: "/pool/root.qcow2", format: "qcow2", readOnly: false },
    { path: "/pool/seed.img", format: "raw", readOnly: true },
  ],
  nics: [{ mac: "52:54:00:00:00:01", backend: { tap: "vrt1" }, mtu: 1450 }],
  accelerator: "tcg",
  machineType: "pc-q35-7.2",
};

/** One option a line, as people read it. */
const lines = (args: readonly string[]) =>
  args.reduce<string>((text, arg) => text + (arg.startsWith("-") ? `\n${arg}` : ` ${arg}`), "").trim();

const changed = (more: Partial<Machine>) => lines(commandLine({ ...machine, ...more }, files, "run"));

describe("the command line", () => {
  it("is this (vitest -u refreshes it: a change breaks migrations between versions of Vireo)", () => {
    expect(lines(commandLine(machine, files, "run"))).toMatchInlineSnapshot(`
      "-name guest=web,debug-threads=on
      -uuid 8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11
      -S
      -no-user-config
      -nodefaults
      -display none
      -machine pc-q35-7.2,usb=off,dump-guest-core=off,mem-merge=off,memory-backend=pc.ram
      -accel tcg
      -cpu qemu64
      -m 512M
      -object {"qom-type":"memory-backend-memfd","id":"pc.ram","size":536870912,"share":true,"merge":false}
      -smp 2,sockets=1,cores=2,threads=1
      -overcommit mem-lock=off
      -rtc base=utc
      -boot strict=on
      -msg timestamp=on
      -global ICH9-LPC.disable_s3=1
      -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
      -chardev stdio,id=journal,signal=off
      -mon chardev=journal,mode=control
      -chardev socket,id=qmp,path=/run/m/s/qmp,server=on,wait=off
      -mon chardev=qmp,mode=control
      -chardev socket,id=serial,path=/run/m/s/serial,server=on,wait=off
      -device {"driver":"isa-serial","chardev":"serial"}
      -action reboot=reset,shutdown=poweroff,panic=shutdown
      -chardev socket,id=qga,path=/run/m/s/qga,server=on,wait=off
      -object {"qom-type":"rng-random","id":"urandom","filename":"/dev/urandom"}
      -object {"qom-type":"throttle-group","id":"throttle0"}
      -blockdev {"driver":"qcow2","node-name":"format0","read-only":false,"discard":"unmap","file":{"driver":"file","node-name":"file0","filename":"/pool/root.qcow2","aio":"threads","locking":"on","read-only":false,"discard":"unmap"}}
      -blockdev {"driver":"throttle","node-name":"drive0","throttle-group":"throttle0","read-only":false,"discard":"unmap","file":"format0"}
      -object {"qom-type":"throttle-group","id":"throttle1"}
      -blockdev {"driver":"raw","node-name":"format1","read-only":true,"discard":"unmap","file":{"driver":"file","node-name":"file1","filename":"/pool/seed.img","aio":"threads","locking":"on","read-only":true,"discard":"unmap"}}
      -blockdev {"driver":"throttle","node-name":"drive1","throttle-group":"throttle1","read-only":true,"discard":"unmap","file":"format1"}
      -netdev {"type":"tap","id":"net0","ifname":"vrt1","script":"no","downscript":"no"}
      -device {"driver":"pvpanic-pci","id":"pvpanic","bus":"pcie.0","addr":"0x2"}
      -device {"driver":"virtio-serial-pci","id":"vserial","bus":"pcie.0","addr":"0x3"}
      -device {"driver":"virtio-rng-pci","id":"rng0","rng":"urandom","max-bytes":1024,"period":1000,"bus":"pcie.0","addr":"0x4"}
      -device {"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","serial":"disk0","werror":"stop","bootindex":0,"bus":"pcie.0","addr":"0x5"}
      -device {"driver":"virtio-blk-pci","id":"disk1","drive":"drive1","serial":"disk1","bootindex":1,"bus":"pcie.0","addr":"0x6"}
      -device {"driver":"virtio-net-pci","id":"nic0","netdev":"net0","mac":"52:54:00:00:00:01","host_mtu":1450,"rx_queue_size":1024,"romfile":"","bus":"pcie.0","addr":"0x7"}
      -device {"driver":"virtio-balloon-pci","id":"balloon","deflate-on-oom":true,"free-page-reporting":true,"bus":"pcie.0","addr":"0x8"}
      -device {"driver":"virtserialport","bus":"vserial.0","chardev":"qga","name":"org.qemu.guest_agent.0"}"
    `);
  });

  it("of a data disk has its name", () => {
    const data = { name: "logs", path: "/pool/logs.qcow2", format: "qcow2", readOnly: false } as const;
    const text = changed({ disks: [...machine.disks, data] });
    expect(text).toContain('{"driver":"throttle","node-name":"drive-logs","throttle-group":"throttle-logs"');
    expect(text).toContain(
      '"id":"disk-logs","drive":"drive-logs","serial":"logs","werror":"stop","bootindex":2',
    );
  });

  it("has root ports for what comes and goes, and leaves the rest where it was", () => {
    const nics = machine.nics.map((nic) => ({ ...nic, port: 0 }));
    const limits = { iops: 100, burst: { iops: 200, seconds: 3 } };
    const data = {
      name: "logs",
      path: "/pool/l.qcow2",
      format: "qcow2",
      readOnly: false,
      port: 9,
      limits,
    } as const;
    const text = changed({ nics, ports: 16, disks: [...machine.disks, data] });
    expect(text).toContain(
      '{"driver":"pcie-root-port","id":"port0","chassis":1,"port":0,"io-reserve":0,"multifunction":true,"bus":"pcie.0","addr":"0x1e.0"}',
    );
    expect(text).toContain(
      '"id":"port9","chassis":10,"port":9,"io-reserve":0,"bus":"pcie.0","addr":"0x1d.1"}',
    );
    expect(text).toContain(
      '"id":"disk-logs","drive":"drive-logs","serial":"logs","werror":"stop","bootindex":2,"bus":"port9","addr":"0x0"}',
    );
    expect(text).toContain(
      '"id":"nic525400000001","netdev":"net525400000001","mac":"52:54:00:00:00:01","host_mtu":1450,"rx_queue_size":1024,"romfile":"","bus":"port0","addr":"0x0"}',
    );
    expect(text).toContain(
      '"id":"balloon","deflate-on-oom":true,"free-page-reporting":true,"bus":"pcie.0","addr":"0x7"}',
    );
    expect(text).toMatch(
      /"id":"throttle-logs","limits":\{"iops-total":100,"iops-total-max":200,"iops-total-max-length":3,"iops-read":0/,
    );
  });

  it("of an incoming machine differs by -incoming alone", () => {
    expect(commandLine(machine, files, "incoming")).toEqual([
      ...commandLine(machine, files, "run"),
      "-incoming",
      "defer",
    ]);
  });

  it("of a direct kernel boot names the kernel, and no disk to boot from", () => {
    const boot = { kernel: "/pool/vmlinuz", initrd: "/pool/initrd", commandLine: "console=ttyS0 quiet" };
    const args = commandLine({ ...machine, boot }, files, "run");
    expect(args.slice(args.indexOf("-kernel"))).toEqual([
      "-kernel",
      "/pool/vmlinuz",
      "-initrd",
      "/pool/initrd",
      "-append",
      "console=ttyS0 quiet",
    ]);
    expect(lines(args)).not.toContain("bootindex");
  });

  it("uses QEMU's user network where there are no taps, and the host's CPU under KVM", () => {
    const nics: Machine["nics"] = [{ mac: "52:54:00:00:00:01", backend: { user: true }, mtu: 1450 }];
    expect(changed({ nics })).toContain('-netdev {"type":"user","id":"net0"}');
    expect(changed({ accelerator: "kvm" })).toMatch(/-accel kvm\n-cpu host\n/);
  });

  it("shows a Windows guest what Hyper-V would, where the CPU is the host's", () => {
    const hardware = { ...TODAY, hyperv: true };
    expect(changed({ hardware, accelerator: "kvm" })).toMatch(
      /^-cpu host,(?=.*\bhv-stimer\b)(?=.*\bhv-relaxed\b)(?=.*\bhv-vapic\b)/m,
    );
    expect(changed({ hardware })).toMatch(/^-cpu qemu64$/m);
  });

  it("gives each of Hyper-V's enlightenments those that it requires: QEMU starts no machine otherwise", () => {
    // What QEMU's page of them says ("Requires", docs/system/i386/hyperv).
    const requires: Readonly<Record<string, readonly string[]>> = {
      "hv-synic": ["hv-vpindex"],
      "hv-stimer": ["hv-vpindex", "hv-synic", "hv-time"],
      "hv-stimer-direct": ["hv-vpindex", "hv-synic", "hv-time", "hv-stimer"],
      "hv-tlbflush": ["hv-vpindex"],
      "hv-tlbflush-ext": ["hv-tlbflush"],
      "hv-tlbflush-direct": ["hv-vapic"],
      "hv-ipi": ["hv-vpindex"],
      "hv-evmcs": ["hv-vapic"],
    };
    const names = HYPERV.map((flag) => flag.split("=")[0] ?? "");
    const missing = names.flatMap((name) =>
      (requires[name] ?? []).filter((each) => !names.includes(each)).map((each) => `${name}: ${each}`),
    );
    expect(missing).toEqual([]);
  });

  it("doubles commas, which would else begin another option", () => {
    const odd = { ...files, serialSocket: "/run/a,b/serial" };
    expect(lines(commandLine({ ...machine, name: "a,process=x" }, odd, "run"))).toMatch(
      /guest=a,,process=x,debug[\s\S]*path=\/run\/a,,b\/serial,server/,
    );
  });

  it("refuses more devices than there are slots, rather than to let QEMU choose", () => {
    const [disk] = machine.disks;
    const disks = Array.from({ length: 30 }, () => disk).filter((d) => d !== undefined);
    expect(() => changed({ disks })).toThrow(/room for 29 devices/);
  });

  it("gives every device an address of its own", () => {
    const addresses = changed({}).match(/"addr":"0x[0-9a-f]+"/g) ?? [];
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(addresses).toHaveLength(7);
  });
});

it("what is at places of the board is known again by the arguments, in its order", () => {
  const nic = (n: number, port?: number) => ({
    mac: `52:54:00:00:00:0${n}`,
    backend: { user: true as const },
    mtu: 1500,
    ...(port === undefined ? {} : { port }),
  });
  const named = (name: string, more: Partial<Disk> = {}) =>
    ({ name, path: `/p/${name}`, format: "qcow2", readOnly: false, ...more }) as const;
  const fixedOf = (more: Partial<Machine>) =>
    fixedDevices(commandLine({ ...machine, ...more }, files, "run")).fixed;
  const disks = [
    ...machine.disks,
    named("logs"),
    named("data", { readOnly: true }),
    named("hot", { port: 3 }),
  ];
  const nics = [nic(2), nic(1), nic(3, 4)];
  const all = { disks: ["logs", "data"], nics: ["525400000002", "525400000001"] };
  expect(fixedOf({ disks, nics })).toEqual(all);
  expect(fixedOf({ disks, nics, hardware: { ...TODAY, disks: "sata", nics: "e1000e" } })).toEqual(all);
  const old = { ...TODAY, board: "isapc", disks: "ide", nics: "ne2k" } as const;
  expect(fixedOf({ disks: disks.slice(0, 4), nics: nics.slice(0, 2), hardware: old })).toEqual({
    ...all,
    disks: ["logs"],
  });
});
