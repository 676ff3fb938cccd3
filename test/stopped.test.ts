/** Commands that wait, ended by Ctrl-C or `kill`, as processes against a real API server, with nobody who would do what they wait for. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ApiStack, startApiStack } from "../src/api/testing/stack.ts";
import { deleteObjects } from "../src/cli/delete.ts";
import { statePaths } from "../src/cli/paths.ts";
import { Stopped } from "../src/cli/stop-signal.ts";
import { modify } from "../src/client/client.ts";
import { GuestCommand } from "../src/compute/guest-commands/kinds.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { newOpener } from "../src/resource/sealed.ts";
import { ROOT } from "./support/stack.ts";

const SOON = { timeout: 20_000 };
const db = { name: "db", namespace: "default" };
let stack: ApiStack;

beforeAll(async () => {
  stack = await startApiStack();
  const client = stack.admin();
  await client.create(Host, { metadata: { name: "a" }, spec: {} });
  const agent = { version: "1", startedTime: "2026-01-01T00:00:00Z", sealingKey: newOpener().publicKey };
  await modify(client, Host, { name: "a" }, "status", (host) => ({ ...host, status: { agent } }));
  await client.create(VirtualMachine, { metadata: db, spec: { memory: "64Mi", image: "shop" } });
  await modify(client, VirtualMachine, db, "status", (vm) => ({
    ...vm,
    status: { phase: "Running" as const, host: "a", observedGeneration: 1 },
  }));
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

/** @param waits whether it waits by now, from what it said @returns how it ended after the signal */
async function stopped(
  by: "SIGINT" | "SIGTERM",
  args: readonly string[],
  waits: (said: string) => boolean | Promise<boolean>,
  input = "",
): Promise<{ code: number | null; said: string }> {
  const main = ["--disable-warning=ExperimentalWarning", join(ROOT, "src/cli/main.ts")];
  const env = { ...process.env, KUBECONFIG: stack.kubeconfig, VIREO_STATE: join(stack.folder, "none") };
  const child = spawn(process.execPath, [...main, ...args], { env, cwd: ROOT });
  child.stdin.end(input);
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => {
      said += part.toString();
    });
  const closed = new Promise<number | null>((done) => child.once("close", done));
  try {
    await expect.poll(() => waits(said), SOON).toBe(true);
  } finally {
    child.kill(by);
  }
  return { code: await closed, said };
}
const has = (text: string) => (said: string) => said.includes(text);
const isAsked = async () => (await stack.admin().list(GuestCommand)).items.length > 0;

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)(
  "a drain that nobody waits for any more goes on, and is not over for what follows it (%s)",
  async (by, code) => {
    const end = await stopped(by, ["drain", "a"], has("the director has not looked at it yet"));
    expect(end).toEqual({
      code,
      said: "host/a the director has not looked at it yet\nvireo: host/a goes on, only nobody waits for it any more; `vireo get host/a -w` tells more\n",
    });
    expect((await stack.admin().get(Host, { name: "a" }))?.spec.maintenance).toBe(true);
  },
);

it("a move, and a stop", async () => {
  const move = await stopped("SIGINT", ["migrate", "vm/db"], has("migration/db-"));
  expect(move).toMatchObject({
    code: 130,
    said: expect.stringMatching(/migration\/\S+ goes on, only nobody/),
  });
  const isTold = async () => (await stack.admin().get(VirtualMachine, db))?.spec.running === false;
  const stop = await stopped("SIGINT", ["stop", "vm/db"], isTold);
  expect(stop).toMatchObject({ code: 130, said: expect.stringContaining("virtualmachine/db goes on, only") });
  await stack.admin().patch(VirtualMachine, db, { spec: { running: true } });
});

it("a password of which nobody knows whether it is set is not called set; a program may run on", async () => {
  const password = await stopped("SIGINT", ["set-password", "vm/db", "root"], isAsked, "secret\n");
  expect(password).toEqual({
    code: 130,
    said: "vireo: it is not known whether root of vm/db has the new password or the old one\n",
  });
  const program = await stopped("SIGINT", ["exec", "vm/db", "--", "sleep", "9"], isAsked);
  expect(program).toEqual({
    code: 130,
    said: "vireo: nobody waits any more for what was run in vm/db; it may run on there for 60 s\n",
  });
});

it("a deletion of many deletes no more", async () => {
  const signal = AbortSignal.abort(new Stopped("SIGINT"));
  const place = { paths: statePaths(join(stack.folder, "none")), kubeconfig: stack.kubeconfig };
  const how = { files: [], all: true, yes: true, dryRun: false, ignoreNotFound: false, wait: true };
  const deletion = deleteObjects(["vm"], { ...place, ...how, timeoutMs: 10_000, signal }, () => {});
  await expect(deletion).rejects.toThrow("stopped: 0 of 1 are deleted, or being deleted; the others stay");
  expect(await stack.admin().get(VirtualMachine, db)).toBeDefined();
});

it("a deletion that is waited for", async () => {
  const client = stack.admin();
  const kept = { name: "kept", namespace: "default" };
  await client.create(VirtualMachine, {
    metadata: { ...kept, finalizers: ["vireo.dev/a-test"] },
    spec: { memory: "64Mi", image: "shop" },
  });
  const isDeleted = async () =>
    (await client.get(VirtualMachine, kept))?.metadata.deletionTimestamp !== undefined;
  expect(await stopped("SIGTERM", ["delete", "vm/kept"], isDeleted)).toEqual({
    code: 143,
    said: "vireo: virtualmachine/kept is not waited for any more; it is being deleted, and vireo.dev/a-test has yet to be done\n",
  });
});
