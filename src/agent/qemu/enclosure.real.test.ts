/** What somebody who has taken a QEMU over finds: a probe in its namespaces, with its user and without rights, as it is there. Needs root. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { Network } from "../../compute/networks/kinds.ts";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { startEtcd } from "../../store/testing/etcd.ts";
import { run } from "../../system/run.ts";
import { freePort } from "../../system/testing/free-port.ts";
import type { MachineConfig } from "../hypervisor.ts";
import { Networking } from "../network/network.ts";
import { removeNetworking } from "../network/network-leftovers.ts";
import { Outward, outwardTable } from "../network/outward.ts";
import { HardwarePool } from "../testing/hardware.ts";
import { asUser, reached } from "../testing/outward-probe.ts";
import { newId, RealMachines, until } from "../testing/real-machines.ts";

const machines = new RealMachines();
afterEach(() => removeNetworking(machines.folder));

const lan: Network = {
  apiVersion: "vireo.dev/v1",
  kind: "Network",
  metadata: { name: "probe" },
  spec: { subnet: "10.199.9.0/24", nat: true, mtu: 1450 },
};

/** Of each path: "open", "write", "list" or "connect" for what could be done, or why nothing could. Perl is on every Debian. */
const PROBE = `
  use Fcntl; use Socket; use POSIX ();
  for my $path (@ARGV) {
    my @can; my $why = "";
    if (-S $path) { socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un($path)) ? push(@can, "connect") : ($why = $!); }
    elsif (-d $path) { opendir(my $d, $path) ? push(@can, "list") : ($why = $!); }
    else {
      sysopen(my $f, $path, O_RDONLY|O_NONBLOCK) ? push(@can, "open") : ($why = $!);
      sysopen(my $g, $path, O_WRONLY|O_NONBLOCK) ? push(@can, "write") : ($why ||= $!);
    }
    print "$path\\t", (@can ? join("+", @can) : $why), "\\n";
  }`;

type Where = { pid: number; as?: { uid: number; gid: number } } | "host";

/** Its namespaces. */
const into = (pid: number) => [
  ...["nsenter", "--target", String(pid)],
  ...["--mount", "--net", "--ipc", "--uts", "--cgroup"],
];

function probe(where: Where, paths: readonly string[]): Record<string, string> {
  const enter = where === "host" ? [] : [...into(where.pid), ...(where.as ? asUser(where.as) : [])];
  const [program = "", ...args] = [...enter, "perl", "-e", PROBE, ...paths];
  const said = execFileSync(program, args, { encoding: "utf8" });
  return Object.fromEntries(
    said
      .trim()
      .split("\n")
      .map((line) => line.split("\t") as [string, string]),
  );
}

const statusOf = (pid: number, field: string) =>
  new RegExp(`^${field}:[ \\t]*(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];

async function twoMachines() {
  const host = machines.hypervisor("run", { outward: new Outward(machines.folder) });
  const networking = new Networking({ stateFolder: machines.folder, address: "127.0.0.1" });
  await networking.ensure(lan, [], [{ mac: "52:54:00:c1:a2:01", address: "10.199.9.5", hostname: "one" }]);
  const pool = new HardwarePool(machines, (path) => writeBootDisk(path, "busy"));
  const start = async (name: string, mac: string) => {
    const instance = pool.instance({ tpm: true }, { vm: name, vmUid: newId() });
    const config: MachineConfig = await pool.config(instance);
    const run = { uid: config.id, mac, address: "10.199.9.5" };
    const tap = await networking.ensureTap(lan, run, config.user);
    const { pid } = await machines.start(host, { ...config, nics: [{ mac, mtu: 1450, backend: { tap } }] });
    return { config, pid };
  };
  return [await start("one", "52:54:00:c1:a2:01"), await start("two", "52:54:00:c1:a2:02")] as const;
}

it("a QEMU reaches its own files, and nothing of other machines, the installation or the host", async () => {
  // As an installation has them, and worse: readable by everybody. Not the permissions are what is tried.
  for (const folder of ["pki", "dhcp"]) mkdirSync(join(machines.folder, folder), { recursive: true });
  const secrets = ["store.sqlite", "agent.key", "pki/ca.key"].map((name) => join(machines.folder, name));
  for (const path of secrets) {
    writeFileSync(path, "secret");
    chmodSync(path, 0o666);
  }
  const [one, two] = await twoMachines();
  const run = (config: MachineConfig, file: string) => machines.path("run", config.id, file);
  const disk = two.config.disks[0]?.path ?? "";
  chmodSync(disk, 0o666);
  const own = one.config.disks[0]?.path ?? "";
  const image = join(machines.folder, "pool/images/disk.raw");
  chmodSync(image, 0o666);
  const devices = readdirSync("/dev").filter((name) => /^(mem|kmsg|kvm|vda|sda|nvme0n1|xvda)$/.test(name));
  const foreign = [
    ...secrets,
    disk,
    two.config.folders?.[0] ?? "",
    two.config.tpm ?? "",
    run(two.config, "s"),
    run(two.config, "s/qmp"),
    run(two.config, "s/qga"),
    join(machines.folder, "dhcp/probe/hosts"),
    join(machines.folder, "dhcp/probe/pid"),
    `/proc/${two.pid}/root`,
    `/proc/${process.pid}/environ`,
    "/proc/sys/kernel/core_pattern",
    "/etc/shadow",
    "/etc/passwd",
    "/root",
    "/sys/class/net",
    ...devices.map((name) => `/dev/${name}`),
  ];
  const others = ["s/qmp", "s/qga", "s/serial", "record.json", "journal", "fstab"].map((file) =>
    run(one.config, file),
  );

  // The probe can see: as root on the host it reaches every one of them (where the host itself is not let by its own host: finds).
  const outside = probe("host", [...foreign, ...others]);
  for (const path of [...foreign, ...others])
    expect(outside[path], path).toMatch(
      path.startsWith("/dev/") ? /open|not permitted/ : /open|list|connect|Resource temporarily/,
    );

  const as = one.config.user;
  const inside = probe({ pid: one.pid, as }, [
    ...foreign,
    ...others,
    own,
    image,
    "/dev/null",
    "/dev/net/tun",
  ]);
  for (const path of [...foreign, ...others])
    expect(inside[path], path).toMatch(/No such file|Permission denied/);
  expect(inside).toMatchObject({
    [own]: "open+write",
    [image]: "open",
    "/dev/null": "open+write",
    "/dev/net/tun": "open+write",
  });
  // Nor is it by permissions alone: for root they would not be there either.
  const asRoot = probe({ pid: one.pid }, foreign);
  for (const path of foreign.filter((path) => !path.startsWith("/proc/")))
    expect(asRoot[path], path).toBe("No such file or directory");
  expect(probe({ pid: one.pid }, [image])[image]).toBe("open");

  const reach = (...command: string[]) =>
    execFileSync("nsenter", ["--target", String(one.pid), "--mount", "--", ...command], { encoding: "utf8" });
  expect(reach("find", "/dev", "!", "-type", "d").trim().split("\n").sort()).toEqual([
    "/dev/net/tun",
    "/dev/null",
    "/dev/urandom",
  ]);

  const user = String(as.uid);
  for (const { field, is } of [
    { field: "Uid", is: [user, user, user, user].join("\t") },
    { field: "Groups", is: "" },
    { field: "CapEff", is: "0000000000000000" },
    { field: "CapBnd", is: "0000000000000000" },
    { field: "NoNewPrivs", is: "1" },
    { field: "Seccomp", is: "2" },
  ])
    expect(statusOf(one.pid, field)?.trim(), field).toBe(is);
  // And nothing of it is on the host: it ends with the process.
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(machines.folder);
});

it("a QEMU reaches no port of the host: not its store, its API or its agents, nor its network's gateway, by TCP or UDP", async () => {
  const etcd = await startEtcd();
  const api = createServer((socket) => socket.on("error", () => {})).listen(await freePort(), "0.0.0.0");
  await once(api, "listening");
  try {
    const [one, two] = await twoMachines();
    const at = api.address();
    const port = typeof at === "object" ? at?.port : 0;
    const gateway = "10.199.9.1";
    const ports = [`tcp:${etcd.endpoints[0]}`, `tcp:127.0.0.1:${port}`, `tcp:${gateway}:${port}`];
    // The network's DNS is for guests, which come to it through their taps.
    const all = [...ports, `udp:${gateway}:53`, "tcp:192.0.2.1:443"];
    for (const { pid, config } of [one, two]) {
      const found = await reached([...into(pid), ...asUser(config.user)], all);
      expect(Object.keys(found)).toEqual(all);
      for (const address of all) expect(found[address], address).toMatch(/refused|not permitted|No route/);
    }
    // The next agent sees to it, too, also where the record of a machine is gone.
    await run("nft", ["delete", "table", "inet", outwardTable(machines.folder)]);
    const record = machines.path("run", two.config.id, "record.json");
    renameSync(record, `${record}.away`);
    const next = machines.hypervisor("run", { outward: new Outward(machines.folder) });
    await next.confine().finally(() => renameSync(`${record}.away`, record));
    for (const { pid, config } of [one, two])
      expect(await reached([...into(pid), ...asUser(config.user)], ports)).toEqual(
        Object.fromEntries(ports.map((address) => [address, "Connection refused"])),
      );
    // They are there, and the very same probe reaches them as another user.
    const found = await reached([...into(one.pid), ...asUser({ uid: 271_009, gid: 200_000 })], ports);
    expect(Object.values(found)).toEqual(ports.map(() => "reached"));
  } finally {
    api.close();
    await etcd.stop();
  }
});

it("a QEMU that was taken over leaves no way out in its disk: a header that names a file of the host starts no machine", async () => {
  const host = machines.hypervisor("run");
  const secret = join(machines.folder, "store.sqlite");
  writeFileSync(secret, "secret".padEnd(512, "."));
  const pool = new HardwarePool(machines, (path) => writeBootDisk(path, "busy"));
  const instance = pool.instance({});
  const config = await pool.config(instance);
  const { pid } = await machines.start(host, config);
  const [disk = ""] = config.disks.map(({ path }) => path);
  await host.kill(config.id);
  await host.forget(config.id);
  expect(() => probe({ pid }, [])).toThrow();
  const [setpriv = "", ...as] = asUser(config.user);
  for (const file of [secret, "/etc", "/etc/passwd"]) {
    const change = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", file, "-F", "raw", disk];
    execFileSync(setpriv, [...as, ...change]);
    const named = `${disk} has "${file}"`;
    await expect(
      pool.config({ ...instance, spec: { ...instance.spec, volumesExist: true } }),
    ).rejects.toThrow(named);
    // Nor with the description of before.
    await expect(machines.start(host, config)).rejects.toThrow(named);
    expect(await host.list()).toEqual([]);
  }
  // It was nothing else that was in its way.
  const base = join(machines.folder, "pool/images/disk.raw");
  execFileSync(setpriv, [...as, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", base, "-F", "raw", disk]);
  await machines.start(host, await pool.config(instance));
});

it("a QEMU that was taken over puts nothing where root works by path: its sockets, its records, what is lent to it", async () => {
  const [one] = await twoMachines();
  const inside = (...command: string[]) => {
    const [program = "", ...args] = [...into(one.pid), ...asUser(one.config.user), ...command];
    return execFileSync(program, args, { encoding: "utf8" });
  };
  const at = (file: string) => machines.path("run", one.config.id, file);
  for (const file of ["s/qmp", "s/serial.log", "m", "tls", "serial/0", "journal", "record.json.new"])
    expect(() => inside("ln", "-sf", "/etc/passwd", at(file)), file).toThrow(/Permission denied/);
  for (const file of ["s", "p", "serial", "journal", "record.json"])
    expect(() => inside("mv", at(file), at("away")), file).toThrow(/Permission denied/);
});

it("what its TPM needs is enclosed, too", async () => {
  const [one, two] = await twoMachines();
  const mark = `path=${machines.path("run", one.config.id, "s/tpm")}`;
  const pid = await until(() =>
    readdirSync("/proc").find((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`${mark},`);
      } catch {
        return false;
      }
    }),
  );
  const disk = one.config.disks[0]?.path ?? "";
  const found = probe({ pid: Number(pid) }, [
    one.config.tpm ?? "",
    disk,
    two.config.tpm ?? "",
    "/dev/net/tun",
  ]);
  expect(found).toEqual({
    [one.config.tpm ?? ""]: "list",
    [disk]: "No such file or directory",
    [two.config.tpm ?? ""]: "No such file or directory",
    "/dev/net/tun": "No such file or directory",
  });
});
