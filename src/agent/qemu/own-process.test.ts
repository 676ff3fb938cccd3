/** What a QEMU that was taken over can have others believe of its process: that it ended, or that it is another machine's. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { argumentsOf } from "../../qemu/process.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { bootId } from "../../system/boot-id.ts";
import { identify } from "../../system/process.ts";
import type { MachineConfig, MachineId } from "../hypervisor.ts";
import { machineTraces } from "./qemu-leftovers.ts";
import type { MachineRecord } from "./qemu-record.ts";
import { Records } from "./qemu-records.ts";

const VICTIM = "11111111-1111-4111-8111-111111111111" as MachineId;
const TAKEN = "22222222-2222-4222-8222-222222222222" as MachineId;
const USERS = { [VICTIM]: 200_001, [TAKEN]: 200_002 };

let run: string;
let records: Records;
let children: ChildProcess[];

beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "vireo-run-"));
  records = new Records(run, () => false);
  children = [];
});
afterEach(async () => {
  for (const child of children) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(run, { recursive: true });
});

const configOf = (id: MachineId): MachineConfig => ({
  id,
  name: "one",
  cpus: 1,
  memory: parseBytes("64Mi"),
  disks: [],
  nics: [],
  accelerator: "tcg",
  user: { uid: process.getuid?.() === 0 ? (USERS[id] ?? 0) : (process.getuid?.() ?? 0), gid: 200_000 },
});

function write(id: MachineId, more: Partial<MachineRecord>) {
  const folder = records.folderOf(id);
  folder.create({ uid: 0, gid: 0 });
  const record: MachineRecord = {
    config: configOf(id),
    machineType: "pc-q35-7.2",
    how: "run",
    stopRequested: false,
    bootId: bootId(),
    ...more,
  };
  folder.write(record);
  return folder;
}

/** Its command line is `args`. */
async function start(as: number, ...args: string[]) {
  const become = process.getuid?.() === 0 ? ["setpriv", "--reuid", String(as), "--clear-groups"] : [];
  const [program = "", ...rest] = [...become, "perl", "-e", "$| = 1; print 1; sleep 600", ...args];
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  const identity = identify(child.pid ?? 0);
  if (!identity) throw new Error("it has ended");
  return identity;
}

describe("a QEMU that has written over its command line", () => {
  it("still runs: its disks are nobody else's", async () => {
    const process = await start(USERS[VICTIM] ?? 0, "something else");
    const folder = write(VICTIM, { process });
    expect(records.look(folder)?.process).toEqual(process);
    const traces = machineTraces(
      run,
      () => false,
      () => {},
    );
    expect(traces.map(({ what }) => what)).toEqual([]);
  });

  it.runIf(process.getuid?.() === 0)("is not another machine, which it names there", async () => {
    const victim = write(VICTIM, {});
    const taken = await start(USERS[TAKEN] ?? 0, "qemu-system-x86_64", victim.mark);
    write(TAKEN, { process: taken });
    expect(records.look(victim)).toBeUndefined();
    // Nor where that has no record.
    rmSync(join(victim.path, "record.json"));
    expect(records.look(victim)).toBeUndefined();
  });

  it("of another start of the host runs no more, whatever has its number now", async () => {
    const folder = records.folderOf(VICTIM);
    const process = await start(USERS[VICTIM] ?? 0, "qemu-system-x86_64", folder.mark);
    write(VICTIM, { process, bootId: "another" });
    expect(records.look(folder)).toMatchObject({ process: undefined });
  });

  it("is found by its arguments where its agent died before it wrote it down", async () => {
    const folder = write(VICTIM, {});
    const process = await start(USERS[VICTIM] ?? 0, "qemu-system-x86_64", folder.mark);
    expect(records.look(folder)?.process).toEqual(process);
    rmSync(join(folder.path, "record.json"));
    expect(() => records.look(folder)).toThrow(`its process ${process.pid} runs`);
    writeFileSync(join(folder.path, "record.json"), "{");
    expect(() => records.look(folder)).toThrow(
      `its record is not whole, but its process ${process.pid} runs`,
    );
  });
});

it("only as much is read of a command line as a QEMU may have", async () => {
  // The kernel takes so long ones: each is at most 128 KiB.
  const { pid } = await start(0, ...Array.from({ length: 12 }, () => "x".repeat(100_000)));
  expect(argumentsOf(pid).join("").length).toBeLessThanOrEqual(2 ** 20);
});
