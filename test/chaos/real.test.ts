/**
 * kill -9 of the control plane and of agents at random moments of a start, a move and a stop, with real processes and real guests: ten
 * seeded rounds over one estate of two machines on two hosts. While it goes on, the kernel's own lock table is watched: at
 * no moment do two QEMUs hold one disk for writing. After each round everything converges, and no machine is lost or
 * doubled. (The hundreds of rounds are in pretend.test.ts, on a pretended hypervisor.)
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { Stack, until } from "../support/stack.ts";
import { Random } from "./random.ts";

const SEED = Number(process.env.VIREO_CHAOS_SEED ?? 7);
const ROUNDS = 10;
const HOSTS = ["fast-1", "frugal-1"];
const DAEMONS = ["control-plane", "agent fast-1", "agent frugal-1"];

let stack: Stack;

interface Process {
  pid: string;
  /** The machine's name: the guest's name without the number of the run. */
  vm: string;
  /** Whether it holds QEMU's lock on writing the machine's disk (byte 101) now. */
  writes: boolean;
}

function processes(): Process[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(join("/proc", pid, "cmdline"), "utf8");
      if (!command.startsWith("qemu-system-") || !command.includes(stack.paths.state)) return [];
      const vm = /guest=([a-z]+)-\d+/.exec(command)?.[1] ?? "?";
      const writes = readdirSync(join("/proc", pid, "fd")).some((fd) => {
        if (!readlinkSync(join("/proc", pid, "fd", fd)).endsWith("/root.qcow2")) return false;
        const locks = readFileSync(join("/proc", pid, "fdinfo", fd), "utf8").matchAll(
          /^lock:.* (\d+) (\d+)$/gm,
        );
        return [...locks].some(([, from, to]) => Number(from) <= 101 && Number(to) >= 101);
      });
      return [{ pid, vm, writes }];
    } catch {
      return []; // ended while we looked
    }
  });
}

const at = (name: string) => ({ name, namespace: "default" });
const state = () =>
  stack
    .kubectl(["get", "vm,instances,migrations", "-o", "wide"])
    .then(({ stdout, stderr }) => stdout + stderr);

beforeAll(async () => {
  stack = await Stack.create();
  const { code, stdout, stderr } = await stack.up(["--hosts", "2"]);
  if (code !== 0) throw new Error(stdout + stderr);
  const built = await stack.vireo(["image", "build", "tiny", "--package", "netbase"], { timeoutMs: 200_000 });
  if (built.code !== 0) throw new Error(built.stderr);
  for (const name of ["a", "b"])
    await stack.client.create(VirtualMachine, {
      metadata: at(name),
      spec: { memory: "128Mi", image: "tiny", running: false },
    });
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(() => stack?.destroy());

describe("kill -9 at random moments", () => {
  it(`loses and doubles no machine in ${ROUNDS} rounds`, async () => {
    const random = new Random(SEED);
    const violations: string[] = [];
    const watcher = setInterval(() => {
      for (const vm of ["a", "b"]) {
        const writers = processes().filter((p) => p.vm === vm && p.writes);
        if (writers.length > 1)
          violations.push(`${vm}: processes ${writers.map((p) => p.pid).join(" and ")} write`);
      }
    }, 25);
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const wanted = new Map<string, boolean>();
        for (const name of ["a", "b"]) {
          const vm = await stack.client.get(VirtualMachine, at(name));
          const runs = vm?.spec.running === true;
          const operation = runs ? random.pick(["move", "move", "stop"]) : "start";
          if (operation === "move") {
            const to = HOSTS.find((host) => host !== vm?.status?.host) ?? "";
            await stack.client.create(Migration, {
              metadata: at(`${name}-${round}`),
              spec: { vm: name, to },
            });
          } else
            await stack.client.patch(VirtualMachine, at(name), { spec: { running: operation === "start" } });
          wanted.set(name, operation !== "stop");
        }
        const kills = 1 + random.below(3);
        for (let i = 0; i < kills; i++) {
          await new Promise((resolve) => setTimeout(resolve, random.below(2500)));
          const victim = random.pick(DAEMONS) ?? "control-plane";
          await stack.kill(victim);
          await stack.restart(victim);
        }
        await until(
          `round ${round} of seed ${SEED} to converge`,
          90_000,
          async () => {
            const vms = (await stack.client.list(VirtualMachine).catch(() => undefined))?.items;
            const calm = vms?.every(
              (vm) => vm.status?.phase === (wanted.get(vm.metadata.name) ? "Running" : "Stopped"),
            );
            const now = processes();
            const right = [...wanted].every(
              ([vm, runs]) => now.filter((p) => p.vm === vm).length === (runs ? 1 : 0),
            );
            return calm && right ? true : undefined;
          },
          state,
        );
        expect(violations).toEqual([]);
      }
    } finally {
      clearInterval(watcher);
    }
  });
});
