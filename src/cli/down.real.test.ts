/** `vireo down` on state folders with real stores and real QEMUs, but without the processes of an `up`. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { RealMachines, until } from "../agent/testing/real-machines.ts";
import { openStore } from "../store/open.ts";
import { down } from "./down.ts";
import { statePaths } from "./paths.ts";

const machines = new RealMachines();
const BOTH = { keep: false, yes: true };

/** A state folder with these objects in its store. */
async function installation(objects: Record<string, { metadata: object; spec: object; status?: object }>) {
  const paths = statePaths(join(machines.folder, "state"));
  mkdirSync(paths.state);
  const store = await openStore(paths.store);
  for (const [key, object] of Object.entries(objects))
    await store.commit({ key, value: JSON.stringify(object), expected: 0 });
  await store.close();
  const said: string[] = [];
  const run = (options: { keep: boolean; yes: boolean }) => down(paths, options, (line) => said.push(line));
  return { paths, run, said };
}

const vm = (name: string, spec: object = {}, status: object = {}) => ({
  [`virtualmachines/default/${name}`]: {
    metadata: { name, namespace: "default" },
    spec: { storagePool: "default", ...spec },
    status,
  },
});

it("destroys machines and images only with --yes, and lists them before", async () => {
  const { paths, run } = await installation({
    ...vm("web-1"),
    ...vm("db-1", { storagePool: "nas" }),
    "images/web": { metadata: { name: "web" }, spec: {} },
    "storagepools/nas": {
      metadata: { name: "nas" },
      spec: { directory: { path: "/mnt/nas", shared: true } },
    },
  });
  await expect(run({ keep: false, yes: false })).rejects.toThrow(
    /would destroy.*\n {2}virtualmachine\/db-1\n {2}virtualmachine\/web-1\n {2}image\/web\nand leave\n {2}the disks of db-1 in \/mnt\/nas \(pool nas\)\n.*--yes.*--keep/,
  );
  expect(existsSync(paths.store)).toBe(true);
  await run(BOTH);
  expect(existsSync(paths.state)).toBe(false);
});

it("asks also where there is no machine yet: keys, policies and roles may be there", async () => {
  const { paths, run } = await installation({});
  await expect(run({ keep: false, yes: false })).rejects.toThrow(/snapshots: none yet\n/);
  expect(existsSync(paths.store)).toBe(true);
});

it("refuses while a machine is protected", async () => {
  const guarded = await installation({ ...vm("web-1"), ...vm("db-1", { deletionProtection: true }) });
  await expect(guarded.run(BOTH)).rejects.toThrow(
    /deletionProtection of these machines is true:\n {2}virtualmachine\/db-1\nset it to false/,
  );
  expect(existsSync(guarded.paths.store)).toBe(true);
});

it("refuses while a machine is on another host", async () => {
  const { paths, run } = await installation(vm("far", {}, { host: "rack-2" }));
  await expect(run(BOTH)).rejects.toThrow(/other hosts.*\n {2}virtualmachine\/far on rack-2\n.*--keep/);
  expect(existsSync(paths.store)).toBe(true);
});

it("gives each guest its own time to shut down, and tells whom it cut off", async () => {
  const folder = join(machines.folder, "state", "hosts", "a");
  const run = (uid: string, name: string, stop?: object) => ({
    [`instances/default/${name}-1`]: {
      metadata: { name: `${name}-1`, namespace: "default", uid, labels: { "vireo.dev/vm": name } },
      spec: { vm: name, ...(stop ? { stop } : {}) },
    },
  });
  const [good, deaf, forced] = [
    machines.machine("button"),
    machines.machine("busy"),
    machines.machine("busy"),
  ];
  const { said, run: go } = await installation({
    ...run(good.id, "good"),
    ...run(deaf.id, "deaf", { graceSeconds: 2 }),
    ...run(forced.id, "forced", { force: true }),
  });
  mkdirSync(folder, { recursive: true });
  const hypervisor = machines.hypervisor("state/hosts/a/run");
  for (const config of [good, deaf, forced]) await machines.start(hypervisor, config);
  await until(() => machines.serial("state/hosts/a/run", good.id).includes("r") || undefined);
  // As the agent is gone by then: each QEMU talks to one at a time.
  hypervisor.close();
  await go({ keep: true, yes: false });
  expect(said).toEqual([
    "cut off  deaf: its guest did not shut down within 2 s",
    "stopped  3 machines",
    expect.stringContaining("kept "),
  ]);
});
