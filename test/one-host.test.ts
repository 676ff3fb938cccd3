/**
 * `vireo up` without --hosts: this machine is the one host. `down --keep` and `up` again bring the machines back with their disks, also
 * from a backup and with another store; and
 * objects of a shape that no reconciler expects (written into the store behind the API's back) stop nobody else's work (rule 9).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Host } from "../src/compute/hosts/kinds.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Image } from "../src/images/kinds.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { openStore } from "../src/store/open.ts";
import { startEtcd } from "../src/store/testing/etcd.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { run, Stack, until } from "./support/stack.ts";

let stack: Stack;
let metrics: string;
let file: string;

const MANIFEST = `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: boots }
spec:
  recipe:
    packages: [passwd]
    services:
      - { name: http, command: /usr/bin/serve }
    files:
      - path: /usr/bin/serve
        mode: "0755"
        content: |
          #!/bin/sh
          mkdir -p /srv/www; cd /srv/www
          echo "boot $(( $(cat index.html 2>/dev/null | tr -dc 0-9) + 1 ))" > index.html; sync
          exec busybox httpd -f -p 80 -h /srv/www
---
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: a }
spec: { memory: 128Mi, image: boots, readiness: { http: { port: 80 } } }
`;

beforeAll(async () => {
  stack = await Stack.create();
  metrics = `127.0.0.1:${await freePort()}`;
  file = join(mkdtempSync(join(tmpdir(), "vireo-boots-")), "boots.yaml");
  writeFileSync(file, MANIFEST);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  rmSync(dirname(file), { recursive: true });
});

it("runs machines on this machine, whose hardware it has measured", async () => {
  const { code, stdout, stderr } = await stack.up(["-f", file], { env: { VIREO_AGENT_METRICS: metrics } });
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("this machine is ready");
  expect(stdout).toMatch(/^a .* 200 "boot 1"/m);
  const [host] = (await stack.client.list(Host)).items;
  expect(host?.status?.facts?.source).toBe("measured");
  expect(host?.status?.facts?.cpu.threads).toBeGreaterThan(0);
});

it("builds the same image again from its lock", async () => {
  const { code, stdout, stderr } = await stack.vireo(["image", "lock", "boots"]);
  expect(code, stderr).toBe(0);
  const locked = join(dirname(file), "locked.yaml");
  writeFileSync(locked, stdout.replace("name: boots", "name: boots-again"));
  expect((await stack.vireo(["apply", "-f", locked])).code).toBe(0);
  const wait = ["wait", "image/boots-again", "--for", "condition=Ready", "--timeout", "60s"];
  const waited = await stack.vireo(wait, { timeoutMs: 70_000 });
  expect(waited.code, waited.stdout + waited.stderr).toBe(0);
  const status = async (name: string) => (await stack.client.get(Image, { name }))?.status;
  const [first, again] = [await status("boots"), await status("boots-again")];
  expect(again?.sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(again?.sha256).toBe(first?.sha256);
  expect(again?.packages).toEqual(first?.packages);
  const sbom = await stack.vireo(["image", "sbom", "boots", "--format", "cyclonedx"]);
  expect(JSON.parse(sbom.stdout).components).toHaveLength(first?.packages?.length ?? -1);
  const unknown = await stack.vireo(["image", "lock", "nosuch"]);
  expect(unknown.stderr).toBe('vireo: there is no image "nosuch"; vireo get images lists them\n');
});

it("stops building an image that is deleted, and leaves nothing of it", async () => {
  const at = { name: "unwanted" };
  await stack.client.create(Image, { metadata: at, spec: { recipe: { packages: ["nginx-light"] } } });
  await until("the image is being built", 20_000, async () =>
    (await stack.client.get(Image, at))?.status?.phase === "Building" ? true : undefined,
  );
  await stack.client.delete(Image, at);
  const left = () => readdirSync(join(stack.paths.pool, "images"));
  expect(left()).toContainEqual(expect.stringMatching(/^boots-/));
  await until("the build has ended", 30_000, async () =>
    left().some((name) => name.startsWith(".build-")) ? undefined : true,
  );
  expect(left().filter((name) => name.startsWith("unwanted"))).toEqual([]);
});

it("sets a password in a real guest, by its agent", async () => {
  const set = (user: string) => stack.vireo(["set-password", "vm/a", user], { input: "ge:heim ß\n" });
  const { code, stdout, stderr } = await set("root");
  expect(code, stdout + stderr).toBe(0);
  const { stdout: shadow } = await stack.vireo(["exec", "vm/a", "--", "grep", "^root:", "/etc/shadow"]);
  const [, hash = "", salt = ""] = /^root:((\$6\$[^$]+\$)[^:]+):/.exec(shadow) ?? [];
  expect(hash, shadow).not.toBe("");
  // What the C library makes of it.
  expect((await run("perl", ["-e", "print crypt($ARGV[0], $ARGV[1])", "ge:heim ß", salt])).stdout).toBe(hash);
  const refused = await set("nobody-knows");
  expect(refused.code).not.toBe(0);
  expect(refused.stdout + refused.stderr).toContain("nobody-knows");
});

/** What the QEMU of a machine tells its guest. */
function generationIdOf(vm: string): string | undefined {
  const commands = readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? readFileSync(join("/proc", pid, "cmdline"), "utf8") : [];
    } catch {
      return [];
    }
  });
  const own = commands.find((text) => text.includes(stack.paths.state) && text.includes(`guest=${vm}-`));
  return /"driver":"vmgenid"[^}]*"guid":"([^"]+)"/.exec(own ?? "")?.[1];
}

it("clones a running machine, which goes on as somebody else", async () => {
  const exec = async (vm: string, script: string) =>
    (await stack.vireo(["exec", `vm/${vm}`, "--", "sh", "-c", script])).stdout.trim();
  await exec("a", "echo kept > /dev/shm/mark; echo 0123456789abcdef0123456789abcdef > /etc/machine-id");
  const made = await stack.vireo(["clone", "vm/a", "--name", "b", "--instant"], { timeoutMs: 60_000 });
  expect(made.code, made.stdout + made.stderr).toBe(0);
  const b = await stack.client.get(VirtualMachine, { name: "b", namespace: "default" });
  expect(b?.status?.conditions).toContainEqual(expect.objectContaining({ type: "Cloned", status: "True" }));
  const [nic] = b?.status?.interfaces ?? [];
  const seen =
    "cat /dev/shm/mark; hostname; cat /etc/hostname /sys/class/net/eth0/address /etc/machine-id; ip -4 -o addr show eth0";
  const [mark, name, stored, mac, machineId, address] = (await exec("b", seen)).split("\n");
  expect([mark, name, stored, mac]).toEqual(["kept", "b", "b", nic?.mac]);
  expect(machineId).toBe(b?.metadata.uid?.replaceAll("-", ""));
  // By this a kernel with a driver for it knows to make its random numbers anew.
  const a = await stack.client.get(VirtualMachine, { name: "a", namespace: "default" });
  expect([generationIdOf("a"), generationIdOf("b")]).toEqual([a?.metadata.uid, b?.metadata.uid]);
  expect(address).toContain(` ${nic?.address}/`);
  expect(await (await fetch(`http://${nic?.address}/`)).text()).toBe("boot 1\n");
  // Its source has noticed nothing.
  expect(await exec("a", "hostname; cat /dev/shm/mark /etc/machine-id")).toBe(
    "a\nkept\n0123456789abcdef0123456789abcdef",
  );
  expect((await stack.vireo(["delete", "vm/b"], { timeoutMs: 60_000 })).code).toBe(0);
});

it("tells what a machine really uses: as metrics of its agent, and in its status", async () => {
  const counted = await until("the counters of a", 30_000, async () => {
    const text = await fetch(`http://${metrics}/metrics`).then((answer) => answer.text());
    const values = [...text.matchAll(/^(vireo_vm_\w+)\{(.*)\} (\S+)$/gm)]
      .filter(([, , labels]) => labels?.includes('namespace="default",vm="a"'))
      .map(([, name = "", , value]) => [name, Number(value)] as const);
    return values.length > 0 ? values : undefined;
  });
  const names = new Set(counted.map(([name]) => name));
  // What the guest says of its memory comes once its driver does.
  names.delete("vireo_vm_guest_memory_used_bytes");
  expect([...names].sort()).toEqual([
    "vireo_vm_cpu_seconds_total",
    "vireo_vm_cpu_steal_seconds_total",
    "vireo_vm_disk_bytes_total",
    "vireo_vm_disk_operation_seconds_total",
    "vireo_vm_disk_operations_total",
    "vireo_vm_memory_resident_bytes",
    "vireo_vm_network_bytes_total",
  ]);
  const most = (wanted: string) =>
    Math.max(...counted.flatMap(([name, value]) => (name === wanted ? value : [])));
  expect(most("vireo_vm_cpu_seconds_total")).toBeGreaterThan(0.1);
  expect(most("vireo_vm_memory_resident_bytes")).toBeGreaterThan(2 ** 24);
  expect(most("vireo_vm_disk_bytes_total")).toBeGreaterThan(2 ** 20);
  expect(most("vireo_vm_network_bytes_total")).toBeGreaterThan(100);
  const usage = await until("the usage of a", 60_000, async () => {
    const vm = await stack.client.get(VirtualMachine, { name: "a", namespace: "default" });
    expect(vm?.status?.addresses).toEqual(vm?.status?.interfaces?.map(({ address }) => address));
    return vm?.status?.usage?.guestMemoryBytes ? vm.status.usage : undefined;
  });
  expect(usage.hostMemoryBytes).toBeGreaterThan(2 ** 24);
  // Of 128 MiB, and its driver tells.
  expect(usage.guestMemoryBytes).toBeGreaterThan(2 ** 20);
  expect(usage.guestMemoryBytes).toBeLessThan(2 ** 27);
});

it("brings machines back with their disks after down --keep, odd objects in the store or not", async () => {
  const { code, stderr } = await stack.vireo(["down", "--keep"], { timeoutMs: 120_000 });
  expect(code, stderr).toBe(0);
  const odd = (
    plural: string,
    kind: string,
    namespace: string | undefined,
    more: Record<string, unknown>,
  ) => {
    const metadata = {
      name: "odd",
      ...(namespace ? { namespace } : {}),
      uid: `odd-${plural}`,
      resourceVersion: "2",
    };
    const key = namespace ? `${plural}/${namespace}/odd` : `${plural}/odd`;
    return [key, JSON.stringify({ apiVersion: "vireo.dev/v1", kind, metadata, ...more })] as const;
  };
  const db = new DatabaseSync(stack.paths.store);
  for (const [key, value] of [
    odd("virtualmachines", "VirtualMachine", "default", { spec: {} }),
    odd("instances", "Instance", "default", { spec: { vm: 7 }, status: { phase: "Dancing" } }),
    odd("migrations", "Migration", "default", {}),
    odd("policies", "Policy", "default", { spec: { selector: "all", goal: "luck", required: 3 } }),
    odd("plans", "Plan", undefined, { spec: { moves: "many" } }),
    odd("hosts", "Host", undefined, { spec: null, status: { facts: { cpu: 1 } } }),
    odd("images", "Image", undefined, { spec: { recipe: { packages: "all" } } }),
    odd("networks", "Network", undefined, { spec: { subnet: "everywhere" } }),
    odd("storagepools", "StoragePool", undefined, { spec: {} }),
    odd("leases", "Lease", undefined, { spec: { renewTime: 5 } }),
    odd("events", "Event", "default", { spec: null }),
  ])
    db.prepare("INSERT INTO current VALUES (?, ?, 2)").run(key, value);
  db.close();

  const again = await stack.up(["--timeout", "90"], { timeoutMs: 150_000 });
  expect(again.stdout + again.stderr).toMatch(/^a .* 200 "boot 2"/m);
  // People see what is wrong with them, and mend or delete them.
  const { stdout } = await stack.kubectl(["get", "vm", "odd", "-o", "yaml"]);
  expect(stdout).toMatch(
    /vireo\.dev\/invalid: 'spec\.memory: Required value; spec\.image:\s+Required value'/,
  );
  const events = (await stack.client.list(Event)).items.filter(({ spec }) => spec.reason === "Invalid");
  expect(new Set(events.map(({ spec }) => spec.about.kind)).size).toBe(11);
  await stack.kubectl([
    "patch",
    "vm",
    "odd",
    "--type",
    "merge",
    "-p",
    '{"spec":{"memory":"128Mi","image":"boots","running":false}}',
  ]);
  const mended = await stack.client.get(VirtualMachine, { name: "odd", namespace: "default" });
  expect(mended?.metadata.annotations ?? {}).toEqual({});
  expect((await stack.kubectl(["delete", "policy", "odd"])).code).toBe(0);
  // A new machine finds its way past them, too.
  await stack.client.create(VirtualMachine, {
    metadata: { name: "b", namespace: "default" },
    spec: { memory: "128Mi", image: "boots", readiness: { http: { port: 80 } } },
  });
  await until(
    "b to run",
    60_000,
    async () => {
      const vm = await stack.client.get(VirtualMachine, { name: "b", namespace: "default" });
      return vm?.status?.phase === "Running" ? true : undefined;
    },
    async () => (await stack.kubectl(["get", "vm,instances,events", "-o", "wide"])).stdout,
  );
});

it("comes back whole from a backup of the state that was made while it ran", async () => {
  const folder = dirname(file);
  const backup = join(folder, "state.backup");
  const before = (await stack.client.list(VirtualMachine)).resourceVersion;
  const made = await stack.vireo(["backup", "state", backup]);
  expect(made.code, made.stderr).toBe(0);
  expect(made.stdout).toMatch(/state\.backup: \d+ objects as of /);
  expect(statSync(backup).mode & 0o777).toBe(0o600);
  expect((await stack.vireo(["backup", "state", backup])).stderr).toContain("never written over another");
  expect((await stack.vireo(["restore", "state", backup])).stderr).toContain("is in use; run `vireo down`");
  await stack.vireo(["down", "--keep"], { timeoutMs: 120_000 });
  expect((await stack.vireo(["restore", "state", backup])).stderr).toContain("a restore never overwrites");
  // The control plane's disk is lost; the machines' disks are not.
  for (const lost of [stack.paths.pki, stack.paths.kubeconfig, stack.paths.store])
    rmSync(lost, { recursive: true });
  rmSync(`${stack.paths.store}-wal`, { force: true });
  const restored = await stack.vireo(["restore", "state", backup]);
  expect(restored.code, restored.stderr).toBe(0);
  const again = await stack.up(["--timeout", "90"], { timeoutMs: 150_000 });
  expect(again.stdout + again.stderr).toMatch(/^a .* 200 "boot 3"/m);
  expect(Number((await stack.client.list(VirtualMachine)).resourceVersion)).toBeGreaterThan(Number(before));
});

it("moves from SQLite to etcd by a backup, and knows its store after down --keep", async () => {
  const etcd = await startEtcd();
  const backup = join(dirname(file), "move.backup");
  const address = `etcd://${etcd.endpoints.join(",")}/moved`;
  expect((await stack.vireo(["backup", "state", backup])).code).toBe(0);
  await stack.vireo(["down", "--keep"], { timeoutMs: 120_000 });
  // In etcd there is nothing yet.
  const early = await stack.vireo(["up", "--store", address]);
  expect(early.stderr).toContain(
    "this installation has its state in SQLite, in its state folder; leave --store out",
  );
  const restored = await stack.vireo(["restore", "state", backup, "--store", address]);
  expect(restored.code, restored.stderr).toBe(0);
  const again = await stack.up(["--timeout", "90"], { timeoutMs: 150_000 });
  expect(again.stdout + again.stderr).toMatch(/^a .* 200 "boot 4"/m);
  expect((await stack.vireo(["doctor"])).stdout).toContain(`etcd ${etcd.endpoints[0]}: answers`);
  // With and without --keep in between, all of it is gone in the end.
  await stack.vireo(["down", "--keep"], { timeoutMs: 120_000 });
  expect((await stack.vireo(["down", "--yes"])).stdout).toContain(`emptied  ${address}`);
  const store = await openStore(address);
  expect((await store.range("")).entries).toEqual([]);
  await store.close();
  await etcd.stop();
});
