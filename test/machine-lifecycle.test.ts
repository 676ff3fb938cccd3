/** The life of machines by the vireo command, on a whole installation with two hosts: guests of one boot sector, on a real QEMU. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { writeBootDisk } from "../src/qemu/testing/boot-sectors.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { getCondition } from "../src/resource/object.ts";
import { Stack, until } from "./support/stack.ts";

let stack: Stack;
let folder: string;
const GUESTS = ["busy", "panic", "watchdog", "shutdown"] as const;
const image = (name: string) => `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: ${name} }
spec: { file: ${name}.raw }
---`;
const machine = (name: string, guest: string, more = "") => `
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: ${name} }
spec: { memory: 64Mi, image: ${guest}, readiness: { none: true }, stop: { graceSeconds: 1 }${more} }
---`;

const at = (name: string) => ({ name, namespace: "default" });
const vm = (name: string) => stack.client.get(VirtualMachine, at(name));
const when = (name: string, what: string, wanted: (vm: VirtualMachine) => boolean) =>
  until(
    `${name}: ${what}`,
    60_000,
    async () => {
      const now = await vm(name);
      return now && wanted(now) ? now : undefined;
    },
    async () => JSON.stringify((await vm(name))?.status),
  );
const vireo = async (...args: string[]) => {
  const ran = await stack.vireo(args, { timeoutMs: 100_000 });
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  return ran.stdout;
};

beforeAll(async () => {
  stack = await Stack.create();
  folder = mkdtempSync(join(tmpdir(), "vireo-life-"));
  mkdirSync(join(stack.paths.pool, "images"), { recursive: true });
  for (const guest of GUESTS) writeBootDisk(join(stack.paths.pool, "images", `${guest}.raw`), guest);
  const file = join(folder, "all.yaml");
  writeFileSync(file, `${GUESTS.map(image).join("")}${machine("web", "busy", ", deletionProtection: true")}`);
  const { code, stdout, stderr } = await stack.up(["--hosts", "2", "-f", file]);
  expect(code, stdout + stderr).toBe(0);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  rmSync(folder, { recursive: true });
});

it("pauses, moves paused, resumes and resets one and the same run", async () => {
  expect(await vireo("pause", "vm/web")).toMatch(/vm\/web is paused\n$/);
  const { host = "", instance } = (await vm("web"))?.status ?? {};
  const other = host.startsWith("fast") ? "frugal-1" : "fast-1";
  await vireo("migrate", "vm/web", "--to", other);
  const moved = await when(
    "web",
    "paused there",
    ({ status }) => status?.phase === "Paused" && status.host === other,
  );
  expect(moved.status?.instance).not.toBe(instance);
  expect(await vireo("get", "vm", "web")).toMatch(/web +Paused/);
  const wrong = await stack.vireo(["resume", "vm/nosuch"]);
  expect(wrong.stderr).toBe(
    'vireo: there is no machine "nosuch" in the namespace default; vireo get vm -A lists them\n',
  );
  expect(await vireo("resume", "vm/web")).toMatch(/vm\/web runs on\n$/);
  expect((await stack.vireo(["resume", "vm/web"])).stderr).toBe(
    "vireo: vm/web is not paused: it is Running\n",
  );
  expect(await vireo("reset", "vm/web")).toMatch(/vm\/web was reset\n$/);
  expect((await vm("web"))?.status?.instance).toBe(moved.status?.instance);
});

it("suspends, goes on on the other host, and boots when asked to", async () => {
  const from = (await vm("web"))?.status?.host ?? "";
  expect(await vireo("suspend", "vm/web")).toMatch(/vm\/web is suspended\n$/);
  const { suspended, lastEnd } = (await vm("web"))?.status ?? {};
  expect(lastEnd?.reason).toBe("Suspended");
  expect(suspended?.sizeBytes).toBeGreaterThan(2 ** 16);
  expect((await stack.vireo(["pause", "vm/web"])).stderr).toContain(
    "does not run (it is Suspended); vireo start starts it",
  );
  await stack.kubectl(["patch", "host", from, "--type", "merge", "-p", '{"spec":{"unschedulable":true}}']);
  expect(await vireo("start", "vm/web")).toMatch(/vm\/web runs\n$/);
  const again = (await vm("web"))?.status;
  expect(again?.host).not.toBe(from);
  expect(again?.suspended).toBeUndefined();
  const events = (await stack.client.list(Event)).items.map(({ spec }) => `${spec.reason} ${spec.message}`);
  expect(events.join("\n")).toContain("Suspended suspended: its memory is kept");
  await stack.kubectl(["patch", "host", from, "--type", "merge", "-p", '{"spec":{"unschedulable":false}}']);
  await vireo("suspend", "vm/web");
  expect(await vireo("start", "vm/web", "--discard-memory")).toMatch(/vm\/web runs\n$/);
});

it("stops within its time, by force at once, restarts, and is not deleted while it is protected", async () => {
  const began = Date.now();
  expect(await vireo("stop", "vm/web", "--grace", "2s")).toMatch(/vm\/web is stopped\n$/);
  expect(Date.now() - began).toBeGreaterThan(2000);
  expect((await vm("web"))?.status?.lastEnd?.message).toBe(
    "the guest did not shut down within 2 s, and was switched off",
  );
  await vireo("start", "vm/web");
  await vireo("restart", "vm/web", "--force");
  expect((await vm("web"))?.status).toMatchObject({
    phase: "Running",
    lastEnd: { message: "stopped on request" },
  });
  // The plug was pulled once: a later stop asks the guest.
  expect((await vm("web"))?.spec.stop).toEqual({ graceSeconds: 2 });
  const refused = await stack.vireo(["delete", "vm/web"]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("spec.deletionProtection is true; set it to false first");
  await stack.kubectl([
    "patch",
    "vm",
    "web",
    "--type",
    "merge",
    "-p",
    '{"spec":{"deletionProtection":false}}',
  ]);
  await vireo("delete", "vm/web", "--timeout", "60s");
});

it("keeps the memory of guests that panic or do not feed their watchdog, and starts them again with back-off", async () => {
  const file = join(folder, "broken.yaml");
  writeFileSync(
    file,
    machine("broken", "panic", ", onPanic: { dump: true, keepDumps: 2 }") +
      machine("hung", "watchdog", ", hardware: { watchdog: Dump }, restart: Never") +
      machine("down", "shutdown"),
  );
  await vireo("apply", "-f", file);
  const broken = await when(
    "broken",
    "a loop",
    ({ status }) => (status?.dumps?.length ?? 0) === 2 && (status?.restarts ?? 0) > 2,
  );
  const dump = broken.status?.dumps?.at(-1);
  expect(dump).toMatchObject({ reason: "GuestPanic", sizeBytes: expect.any(Number) });
  expect(statSync(dump?.file ?? "")).toMatchObject({ uid: 0, size: dump?.sizeBytes });
  expect(
    readFileSync(dump?.file ?? "")
      .subarray(1, 4)
      .toString(),
  ).toBe("ELF");
  const looping = await when(
    "broken",
    "told",
    ({ status }) => getCondition(status?.conditions, "CrashLoop") !== undefined,
  );
  expect(getCondition(looping.status?.conditions, "CrashLoop")?.message).toMatch(
    /started again \d+ times.*GuestPanic/,
  );
  expect(looping.status?.lastEnd?.message).toMatch(/^the guest's kernel panicked; its memory is in .*\.elf$/);
  await vireo("stop", "vm/broken");

  const hung = await when("hung", "failed", ({ status }) => status?.phase === "Failed");
  expect(hung.status).toMatchObject({ lastEnd: { reason: "Watchdog" }, dumps: [{ reason: "Watchdog" }] });
  const down = await when("down", "down", ({ status }) => status?.phase === "Stopped");
  expect(down.status?.lastEnd?.reason).toBe("GuestShutdown");
  const said = (await stack.client.list(Event)).items.map(({ spec }) => spec.reason);
  expect(said).toEqual(
    expect.arrayContaining(["GuestPanic", "Dumped", "Watchdog", "GuestShutdown", "Restarted"]),
  );
});
