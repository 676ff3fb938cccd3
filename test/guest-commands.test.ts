/** Programs in guests: the reconciler and an agent over the real API, with a pretended hypervisor. Each is run at most once, whoever dies. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { runAgent } from "../src/agent/agent.ts";
import { PretendEnvironment } from "../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../src/agent/testing/pretend-hypervisor.ts";
import { PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { GuestCommand, passwordContext } from "../src/compute/guest-commands/kinds.ts";
import { runGuestCommandReconciler } from "../src/compute/guest-commands/reconciler.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import {
  openControlPlane,
  type TestControlPlane,
  untilGone,
  untilObject,
} from "../src/compute/testing/control-plane.ts";
import { systemClock } from "../src/reconcile/clock.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { seal } from "../src/resource/sealed.ts";
import { FACTS } from "./chaos/estate.ts";

const NS = "default";
const at = (name: string) => ({ name, namespace: NS });

let plane: TestControlPlane;
let world: PretendWorld;
let stop: AbortController;
let stopAgent: AbortController;
const running: Promise<void>[] = [];
beforeEach(async () => {
  plane = await openControlPlane();
  world = new PretendWorld({ random: () => 0.5, stepMs: 1, breakage: 0 });
  stop = new AbortController();
  const context = { client: plane.client, clock: systemClock, log: silentLogger, signal: stop.signal };
  running.push(runGuestCommandReconciler(context));
  startAgent();
});
afterEach(async () => {
  stop.abort();
  stopAgent.abort();
  await Promise.all(running.splice(0));
  await plane.close();
});

function startAgent(hypervisor = new PretendHypervisor(world, "a")): void {
  stopAgent = new AbortController();
  running.push(
    runAgent({
      client: plane.client,
      name: "a",
      hypervisor,
      environment: new PretendEnvironment(),
      facts: FACTS,
      capacity: { cpus: 4, memoryBytes: 2 ** 30 },
      address: "10.0.0.1",
      version: "test",
      log: silentLogger,
      signal: stopAgent.signal,
      intervals: { probe: 5, refresh: 20, sweep: 1000, grace: 5, registered: 1000 },
    }),
  );
}

async function runMachine(): Promise<void> {
  const { client } = plane;
  const vm = await client.create(VirtualMachine, {
    metadata: at("web"),
    spec: { image: "web", memory: "64Mi" },
  });
  await client.updateStatus(VirtualMachine, { ...vm, status: { sequence: 1 } });
  await client.create(Instance, {
    metadata: { ...at("web-1"), labels: { "vireo.dev/vm": "web" } },
    spec: {
      vm: "web",
      vmUid: vm.metadata.uid ?? "",
      memory: "64Mi",
      image: "web",
      interfaces: [],
      host: "a",
    },
  });
  await untilObject(client, Instance, at("web-1"), "Running", (i) => i.status?.phase === "Running");
}

const create = (name: string, command: string[], vm = "web") =>
  plane.client.create(GuestCommand, { metadata: at(name), spec: { vm, command } });
const over = async (name: string) => {
  const isOver = ({ status }: GuestCommand) => ["Succeeded", "Failed"].includes(status?.phase ?? "");
  return (await untilObject(plane.client, GuestCommand, at(name), "its end", isOver)).status;
};

it("are run one after the other, and what they said is told", async () => {
  await runMachine();
  await Promise.all([create("one", ["echo", "1"]), create("two", ["echo", "2"]), create("bad", ["fail"])]);
  expect(await over("one")).toMatchObject({
    phase: "Succeeded",
    exitCode: 0,
    stdout: "echo 1 ",
    instance: "web-1",
  });
  expect(await over("two")).toMatchObject({ phase: "Succeeded", stdout: "echo 2 " });
  expect(await over("bad")).toMatchObject({
    phase: "Failed",
    message: expect.stringContaining("no such file"),
  });
  expect([...world.executed].sort()).toEqual(["echo 1", "echo 2"]);
  await untilObject(plane.client, Instance, at("web-1"), "no task", (i) => !i.spec.guestTask);
});

it("of a machine that is not there, or is not to run, fail with the reason", async () => {
  await create("nowhere", ["ls"], "none");
  expect(await over("nowhere")).toMatchObject({
    phase: "Failed",
    message: "there is no machine none (spec.vm)",
  });
  await runMachine();
  await plane.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
  await create("down", ["ls"]);
  expect(await over("down")).toMatchObject({ phase: "Failed", message: "web does not run; start it first" });
});

it("are not run again when the agent was killed meanwhile: it says that the end is not known", async () => {
  await runMachine();
  stopAgent.abort();
  await Promise.all(running.splice(1));
  let asked = 0;
  const hangs = new PretendHypervisor(world, "a");
  hangs.guestExec = () => {
    asked += 1;
    return new Promise(() => {});
  };
  startAgent(hangs);
  await create("long", ["sleep", "1000"]);
  const isRunning = (i: Instance) => i.status?.guestTask?.phase === "Running";
  await untilObject(plane.client, Instance, at("web-1"), "Running", isRunning);
  stopAgent.abort();
  await Promise.all(running.splice(1));
  startAgent();
  expect(await over("long")).toMatchObject({
    phase: "Failed",
    message: expect.stringContaining("started anew"),
  });
  expect([asked, world.executed]).toEqual([1, []]);
});

it("given to a run that is gone are not said to have ended, nor run again", async () => {
  await runMachine();
  stop.abort();
  const command = await create("lost", ["ls"]);
  await plane.client.updateStatus(GuestCommand, {
    ...command,
    status: { phase: "Running", instance: "web-0" },
  });
  stop = new AbortController();
  const context = { client: plane.client, clock: systemClock, log: silentLogger, signal: stop.signal };
  running.push(runGuestCommandReconciler(context));
  expect(await over("lost")).toMatchObject({
    phase: "Failed",
    message: expect.stringContaining("not known"),
  });
  expect(world.executed).toEqual([]);
});

it("sets a password that nobody but the agent can read, for this machine and user alone", async () => {
  await runMachine();
  const { client } = plane;
  const uid = (await client.get(VirtualMachine, at("web")))?.metadata.uid ?? "";
  const isKnown = (host: Host) => host.status?.agent?.sealingKey !== undefined;
  const host = await untilObject(client, Host, { name: "a" }, "its key", isKnown);
  const sealed = seal(host.status?.agent?.sealingKey ?? "", "geheim", passwordContext(uid, "root"));
  const set = (name: string, user: string, text = sealed) =>
    client.create(GuestCommand, {
      metadata: at(name),
      spec: { vm: "web", password: { user, sealed: text } },
    });
  await set("good", "root");
  expect(await over("good")).toMatchObject({ phase: "Succeeded", exitCode: 0 });
  expect(world.executed).toEqual(["password of root: geheim"]);
  expect(JSON.stringify(await client.list(GuestCommand))).not.toContain("geheim");
  // What was seen of it is of no use for another user, nor after a new start of the agent.
  await set("other", "admin");
  expect(await over("other")).toMatchObject({
    phase: "Failed",
    message: expect.stringContaining("sealed for"),
  });
  const forNobody = seal(host.status?.agent?.sealingKey ?? "", "x", passwordContext(uid, "nobody"));
  await set("nobody", "nobody", forNobody);
  expect(await over("nobody")).toMatchObject({ message: expect.stringContaining("no such user") });
  stopAgent.abort();
  await Promise.all(running.splice(1));
  startAgent();
  await set("late", "root");
  expect(await over("late")).toMatchObject({
    phase: "Failed",
    message: expect.stringContaining("started anew"),
  });
  expect(world.executed).toHaveLength(1);
});

it("has either a command or a password", async () => {
  const create = (spec: object) =>
    plane.client.create(GuestCommand, { metadata: at("odd"), spec: { vm: "web", ...spec } });
  await expect(create({})).rejects.toThrow("exactly one of command and password");
  const password = { user: "root", sealed: "AAAA" };
  await expect(create({ command: ["ls"], password })).rejects.toThrow("exactly one of command and password");
});

it("go an hour after their end", async () => {
  await create("old", ["ls"], "none");
  await over("old");
  const old = await plane.client.get(GuestCommand, at("old"));
  if (!old) throw new Error("gone already");
  await plane.client.updateStatus(GuestCommand, {
    ...old,
    status: { ...old.status, finishedTime: "2026-01-01T00:00:00Z" },
  });
  await untilGone(plane.client, GuestCommand, at("old"));
});
