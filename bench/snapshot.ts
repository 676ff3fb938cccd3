/**
 * How long a guest's writes wait while a snapshot of its disks is taken, and how long a rollback takes until the guest runs again, on a machine of
 * a running installation that is kept busy through its own HTTP server. Beside it, as the measure of the machine itself: `qemu-img
 * snapshot -c` (an internal snapshot, which needs the machine stopped) of a disk of the same content.
 *
 *   ./vireo up --hosts 3 -f examples/shop.yaml --detach
 *   node bench/snapshot.ts [STATE] [VM] [ROUNDS]
 *
 * Ends with 1 when a bar is missed. Bars: disks only, without the guest's help, 30 ms.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectTo } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import type { Kind } from "../src/resource/kind.ts";
import { getCondition, type Resource } from "../src/resource/object.ts";

const [state, vm = "db-1", rounds = "20"] = process.argv.slice(2);
const client = connectTo(statePaths(state));
const namespace = "default";
const print = (line: string) => process.stdout.write(`${line}\n`);

async function until<T extends Resource>(
  kind: Kind<T>,
  name: string,
  is: (object: T) => boolean,
): Promise<T> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const object = await client.get(kind, { name, namespace });
    if (object && is(object)) return object;
    if (Date.now() > deadline) throw new Error(`${kind.kind} ${name}: ${JSON.stringify(object?.status)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
const spread = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => (sorted[Math.floor(q * (sorted.length - 1))] ?? 0).toFixed(1);
  return `min ${at(0)}, median ${at(0.5)}, max ${at(1)} ms of ${values.length}`;
};

const machine = await until(VirtualMachine, vm, ({ status }) => status?.phase === "Running");
const { readiness } = machine.spec;
const url = `http://${machine.status?.interfaces?.[0]?.address}:${readiness?.http?.port ?? 80}${readiness?.http?.path ?? "/"}`;
const stop = new AbortController();
const busy = (async () => {
  while (!stop.signal.aborted) await fetch(url, { signal: AbortSignal.timeout(2000) }).catch(() => undefined);
})();

async function take(name: string, quiesce: boolean): Promise<number> {
  await client.create(Snapshot, { metadata: { name, namespace }, spec: { vm, quiesce } });
  const { status } = await until(Snapshot, name, ({ status }) =>
    ["Ready", "Failed"].includes(status?.phase ?? ""),
  );
  if (status?.phase !== "Ready") throw new Error(status?.message);
  return status.taken?.pauseMs ?? 0;
}

const names: string[] = [];
const measure = async (quiesce: boolean): Promise<number[]> => {
  const pauses: number[] = [];
  for (let i = 0; i < Number(rounds); i++) {
    const name = `bench-${quiesce ? "q" : "c"}${i}-${process.pid}`;
    names.push(name);
    pauses.push(await take(name, quiesce));
  }
  return pauses;
};
const alone = await measure(false);
const quiesced = await measure(true);
print(`pause, disks only:                 ${spread(alone)} (bar 30 ms)`);
print(`pause, frozen by the guest agent:  ${spread(quiesced)} (the guest writes out what it has: no bar)`);

const [first = ""] = names;
const began = performance.now();
const rollback = `bench-${process.pid}`;
await client.create(Rollback, {
  metadata: { name: rollback, namespace },
  spec: { vm, snapshot: first, keep: false },
});
await until(Rollback, rollback, ({ status }) => status?.phase === "Succeeded");
const over = performance.now() - began;
await until(VirtualMachine, vm, ({ status }) => getCondition(status?.conditions, "Ready")?.status === "True");
print(
  `rollback: over after ${(over / 1000).toFixed(2)} s, the guest has booted and answers after ${((performance.now() - began) / 1000).toFixed(2)} s`,
);
const cleaning = performance.now();
for (const name of names) await client.delete(Snapshot, { name, namespace });
for (const name of names)
  while (await client.get(Snapshot, { name, namespace }))
    await new Promise((resolve) => setTimeout(resolve, 50));
print(
  `${names.length} snapshots deleted while it ran: ${((performance.now() - cleaning) / 1000).toFixed(2)} s`,
);
stop.abort();
await busy;
client.close();

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-"));
const disk = join(folder, "disk.qcow2");
execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1G"]);
const internal = performance.now();
execFileSync("qemu-img", ["snapshot", "-c", "a", disk]);
print(
  `beside it: qemu-img snapshot -c of an empty, stopped disk ${(performance.now() - internal).toFixed(1)} ms`,
);
rmSync(folder, { recursive: true });
if (Math.max(...alone) > 30) process.exitCode = 1;
