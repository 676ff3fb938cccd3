/**
 * How long a clone takes from the request to its first HTTP answer: on a machine of a running installation, made for this from the image of its `web-1`
 * (nginx). Instant clones of the running machine (each makes a template: the first clone of a source costs more), instant clones of that template (the
 * following ones), linked clones, which boot; a full one. Beside them, as the measure of the machine itself: how long that machine takes from the request.
 *
 *   ./vireo up --hosts 3 -f examples/shop.yaml --detach
 *   node bench/clone.ts [STATE] [ROUNDS]
 *
 * Ends with 1 when the bar is missed: HTTP answer of an instant clone of a running machine, and of those that follow, within 1 s (median).
 */
import { execFileSync } from "node:child_process";
import { connect } from "node:net";
import { connectTo } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import { templateName } from "../src/compute/clones/kinds.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Snapshot } from "../src/compute/snapshots/kinds.ts";
import { getCondition } from "../src/resource/object.ts";
import { count, median, spread, until, within } from "./measure.ts";

const state = process.argv[2];
const rounds = count(process.argv[3], 5, "ROUNDS");
const client = connectTo({ paths: statePaths(state) });
const namespace = "default";
const prefix = `bench-${process.pid}`;
const print = (line: string) => process.stdout.write(`${line}\n`);
const BAR_MS = 1000;
const ATTEMPT_MS = 400;
const EVERY_MS = 100;

/** One attempt, on a connection of its own: one that is sent to nobody is sent again only after a second. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(80, address);
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(false), ATTEMPT_MS);
    socket.on("error", () => end(false));
    socket.on("connect", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.on("data", (data) => end(data.toString().startsWith("HTTP/1.1 200")));
  });
}

/** Resolves with the first answer: one attempt that began just too early, or is given up just too early, does not hold up the next. */
async function answered(address: string): Promise<void> {
  let first = false;
  await until(
    `answer of ${address}`,
    () => {
      void answers(address).then((answer) => {
        first ||= answer;
      });
      // Looked at more often than asked.
      return until("", () => first || undefined, { limitMs: EVERY_MS, everyMs: 2 }).catch(() => undefined);
    },
    { everyMs: 0 },
  );
}

/** As a client that has never talked to a machine of that address. */
function forget(address: string): void {
  for (const [, link = ""] of execFileSync("ip", ["neigh", "show", address], { encoding: "utf8" }).matchAll(
    /dev (\S+)/g,
  ))
    execFileSync("ip", ["neigh", "del", address, "dev", link]);
}

const at = (name: string) => ({ name, namespace });
const model = await client.get(VirtualMachine, at("web-1"));
if (!model) throw new Error("there is no web-1; start the example");
const { image, memory, readiness } = model.spec;
const spec = { image, memory, ...(readiness ? { readiness } : {}) };

/** @returns ms until it answers */
async function make(name: string, source?: VirtualMachine["spec"]["source"]): Promise<number> {
  const began = performance.now();
  await client.create(VirtualMachine, {
    metadata: at(name),
    spec: { ...spec, ...(source ? { source } : {}) },
  });
  const address = await until(`address of ${name}`, async () => {
    const vm = await client.get(VirtualMachine, at(name));
    return vm?.status?.interfaces?.[0]?.address;
  });
  forget(address);
  await answered(address);
  const ms = performance.now() - began;
  const vm = await until(`${name} ready`, async () => {
    const now = await client.get(VirtualMachine, at(name));
    return getCondition(now?.status?.conditions, "Ready")?.status === "True" ? now : undefined;
  });
  const { source: made, conditions } = vm.status ?? {};
  const cloned = getCondition(conditions, "Cloned");
  if (source?.mode === "Instant" && cloned?.status !== "True")
    throw new Error(`${name} is not instant: ${cloned?.message ?? made?.message}`);
  return ms;
}

/** With the template that was made for it, if there is one. What follows is not to wait for the end of that. */
async function remove(name: string): Promise<void> {
  await client.delete(VirtualMachine, at(name));
  await until(`end of ${name}`, async () =>
    (await client.get(VirtualMachine, at(name))) ? undefined : true,
  );
  const template = at(templateName(name));
  await until(`end of the template of ${name}`, async () =>
    (await client.get(Snapshot, template)) ? undefined : true,
  );
}

async function measure(what: string, source: () => VirtualMachine["spec"]["source"], keep = false) {
  const values: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const name = `${prefix}-${what}-${i}`;
    values.push(await make(name, source()));
    if (!keep || i > 0) await remove(name);
  }
  return values;
}

const source = `${prefix}-source`;
const booted = await make(source);
await make(`${prefix}-warm-up`, { vm: source, mode: "Instant" });
await remove(`${prefix}-warm-up`);
const first = await measure("first", () => ({ vm: source, mode: "Instant" }), true);
const template = `${prefix}-first-0-source`;
const taken = (await client.get(Snapshot, at(template)))?.status?.taken;
const following = await measure("following", () => ({ snapshot: template, mode: "Instant" }));
const linked = await measure("linked", () => ({ snapshot: template, mode: "Linked" }));
const full = await make(`${prefix}-full`, { snapshot: template, mode: "Full" });
for (const name of [`${prefix}-full`, `${prefix}-first-0`]) await remove(name);
await remove(source);
client.close();

print(`HTTP answer after the request, ${memory} of memory:`);
print(`  the machine itself, which boots:           ${booted.toFixed(0)} ms`);
print(`  instant clone of the running machine:      ${spread(first)} (bar ${BAR_MS} ms)`);
print(`  instant clones of the same template:       ${spread(following)} (bar ${BAR_MS} ms)`);
print(`  linked clones, which boot:                 ${spread(linked)}`);
print(`  a full clone, copied and booted:           ${full.toFixed(0)} ms`);
print(
  `  the source stood still for ${taken?.pauseMs} ms; its memory takes ${((taken?.memory?.sizeBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
);
if (!within([median(first), median(following)], BAR_MS)) process.exitCode = 1;
