/** A record that is not whole, as a power cut may leave it: what ran then runs no more, and that is not asked for ever. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import type { MachineId } from "../hypervisor.ts";
import { machineTraces } from "./qemu-leftovers.ts";
import type { MachineFolder } from "./qemu-record.ts";
import { Records } from "./qemu-records.ts";

const ID = "11111111-1111-4111-8111-111111111111" as MachineId;

let run: string;
let records: Records;
let folder: MachineFolder;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "vireo-run-"));
  onTestFinished(() => rmSync(run, { recursive: true }));
  records = new Records(run, () => false);
  folder = records.folderOf(ID);
  folder.create({ uid: 0, gid: 0 });
});

const record = () => join(folder.path, "record.json");

it.each(["", '{"config": {"id', "\0\0\0\0", "{}", "null"])(
  "%j: no machine, once none of its processes runs; its folder goes with its Instance",
  (text) => {
    writeFileSync(record(), text);
    expect(records.find(ID)).toBeUndefined();
    const [trace] = machineTraces(
      run,
      () => false,
      () => undefined,
    );
    const owners = { instances: [], oddInstances: new Set<string>(), networks: new Set<string>() };
    expect(trace?.isNeeded(owners)).toBe(false);
    expect(trace?.isNeeded({ ...owners, oddInstances: new Set([ID]) })).toBe(true);
  },
);

it("one whose process runs keeps its disks", async () => {
  writeFileSync(record(), "");
  const child = spawn("perl", ["-e", "$| = 1; print 1; sleep 600", "qemu-system-x86_64", folder.mark], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  expect(() => records.find(ID)).toThrow(`process ${child.pid} runs; end that first`);
});

it("what the file system does not give is not taken for that", () => {
  mkdirSync(record());
  expect(() => records.find(ID)).toThrow("the record of the machine on its host cannot be read");
});
