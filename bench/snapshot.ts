/**
 * How long a guest stands still, or its writes wait, while a snapshot is taken, and how long a rollback takes until the guest runs again (the agent's word,
 * just after QEMU's) and until a client has its answer, one that tries to connect every 200 ms: on a machine of 512 MiB of a running installation, made for this from the image of its `db-1`, whose database is asked to write all the time.
 * Beside it, as the measure of the machine itself: `qemu-img snapshot -c` (an internal snapshot, which needs the machine stopped).
 *
 *   ./vireo up --hosts 3 -f examples/shop.yaml --detach
 *   node bench/snapshot.ts [STATE] [ROUNDS]
 *
 * Ends with 1 when a bar is missed: pause 30 ms with disks only (without the guest's help), 100 ms with memory; rollback with memory 1.5 s until the guest runs.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectTo } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import type { Kind } from "../src/resource/kind.ts";
import { getCondition, type Resource } from "../src/resource/object.ts";
import { count, pause, spread, until, within } from "./measure.ts";

const state = process.argv[2];
const rounds = count(process.argv[3], 10, "ROUNDS");
const vm = `bench-${process.pid}`;
const client = connectTo({ paths: statePaths(state) });
const namespace = "default";
const print = (line: string) => process.stdout.write(`${line}\n`);

const reaches = <T extends Resource>(kind: Kind<T>, name: string, is: (object: T) => boolean): Promise<T> =>
  until(`${kind.kind} ${name}`, async () => {
    const object = await client.get(kind, { name, namespace });
    return object && is(object) ? object : undefined;
  });

const model = await client.get(VirtualMachine, { name: "db-1", namespace });
if (!model) throw new Error("there is no db-1; start the example");
const { image, readiness } = model.spec;
await client.create(VirtualMachine, {
  metadata: { name: vm, namespace },
  spec: { memory: "512Mi", image, ...(readiness ? { readiness } : {}) },
});
const isReady = ({ status }: VirtualMachine) => getCondition(status?.conditions, "Ready")?.status === "True";
const machine = await reaches(VirtualMachine, vm, isReady);
const address = machine.status?.interfaces?.[0]?.address ?? "";

/** What the guest has counted to; undefined when it does not answer now. What is sent to nobody is sent again only after a second: we do sooner. */
function visits(): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(80, address);
    let said = "";
    const end = (count?: number) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(count);
    };
    let timer = setTimeout(end, 200);
    socket.on("connect", () => {
      clearTimeout(timer);
      timer = setTimeout(end, 2000);
      socket.write("GET /cgi-bin/stock HTTP/1.0\r\n\r\n");
    });
    socket.on("data", (data) => {
      said += data.toString();
    });
    socket.on("error", () => end());
    socket.on("close", () => {
      const count = /"visits": (\d+)/.exec(said)?.[1];
      end(count === undefined ? undefined : Number(count));
    });
  });
}
let newest = 0;
const stop = new AbortController();
const busy = Promise.all(
  [1, 2].map(async () => {
    while (!stop.signal.aborted) {
      const count = await visits();
      if (count === undefined) await pause(5);
      newest = count ?? newest;
    }
  }),
);

const names: string[] = [];
async function measure(what: string, more: { quiesce: boolean; memory: boolean }): Promise<number[]> {
  const pauses: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const name = `${vm}-${what}-${i}`;
    names.push(name);
    await client.create(Snapshot, { metadata: { name, namespace }, spec: { vm, ...more } });
    const { status } = await reaches(Snapshot, name, ({ status }) =>
      ["Ready", "Failed"].includes(status?.phase ?? ""),
    );
    if (status?.phase !== "Ready") throw new Error(status?.message);
    if (more.memory && i === 0)
      print(
        `memory: ${((status.taken?.memory?.sizeBytes ?? 0) / 2 ** 20).toFixed(0)} MiB, live: ${status.taken?.memory?.live}`,
      );
    pauses.push(status.taken?.pauseMs ?? Number.NaN);
  }
  return pauses;
}
const alone = await measure("disks", { quiesce: false, memory: false });
const frozen = await measure("frozen", { quiesce: true, memory: false });
const exact = await measure("memory", { quiesce: false, memory: true });
print(`pause, disks only:                 ${spread(alone, 1)} (bar 30 ms)`);
print(`pause, frozen by the guest agent:  ${spread(frozen, 1)} (the guest writes out what it has: no bar)`);
print(`pause, with memory:                ${spread(exact, 1)} (bar 100 ms)`);

/** @returns ms until the guest of then runs, and until it answers */
async function rollback(name: string, to: string): Promise<{ runs: number; answers: number }> {
  // So that the guest of then is told from the one of now.
  const enough = newest + 50;
  await until("the guest counts on", () => newest >= enough || undefined);
  const before = newest;
  const [began, beganAt] = [performance.now(), Date.now()];
  await client.create(Rollback, { metadata: { name, namespace }, spec: { vm, snapshot: to, keep: false } });
  await until("the guest of then answers", () => newest < before - 20 || undefined);
  const answered = performance.now() - began;
  const done = await reaches(Rollback, name, ({ status }) =>
    ["Succeeded", "Failed"].includes(status?.phase ?? ""),
  );
  if (done.status?.phase !== "Succeeded") throw new Error(`${name}: ${done.status?.message}`);
  const { status } = await reaches(VirtualMachine, vm, (now) => isReady(now) && !now.status?.disksBusy);
  const run = await client.get(Instance, { name: status?.instance ?? "", namespace });
  return { runs: Date.parse(run?.status?.startedTime ?? "") - beganAt, answers: answered };
}
const resumed: number[] = [];
const answered: number[] = [];
for (let i = 0; i < 5; i++) {
  const { runs, answers } = await rollback(`${vm}-back-${i}`, `${vm}-memory-0`);
  resumed.push(runs);
  answered.push(answers);
}
print(`rollback with memory, until it runs:     ${spread(resumed, 1)} (bar 1500 ms)`);
print(`rollback with memory, until it answers:  ${spread(answered, 1)}`);
const { answers: booted } = await rollback(`${vm}-boot`, `${vm}-disks-0`);
print(`rollback of disks, until it has booted:  ${spread([booted], 1)}`);

const cleaning = performance.now();
for (const name of names) await client.delete(Snapshot, { name, namespace });
for (const name of names) while (await client.get(Snapshot, { name, namespace })) await pause(50);
print(
  `${names.length} snapshots deleted while it ran: ${((performance.now() - cleaning) / 1000).toFixed(2)} s`,
);
stop.abort();
await busy;
await client.delete(VirtualMachine, { name: vm, namespace });
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
if (!within(alone, 30) || !within(exact, 100) || !within(resumed, 1500)) process.exitCode = 1;
