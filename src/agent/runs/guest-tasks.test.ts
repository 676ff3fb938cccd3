/** That a program is run at most once, and its end told, however old the look that comes to it is; over the real API: test/guest-commands.test.ts has the rest. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { overriding } from "../../client/testing/overriding.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { openControlPlane, type TestControlPlane, untilObject } from "../../compute/testing/control-plane.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { newOpener } from "../../resource/sealed.ts";
import { PretendHypervisor } from "../testing/pretend-hypervisor.ts";
import { PretendWorld } from "../testing/pretend-world.ts";
import { GuestTasks } from "./guest-tasks.ts";

const AT = { name: "web-1", namespace: "default" };

let plane: TestControlPlane;
/** How often the program was run; each waits until it may end. */
let runs: number;
let end: () => void;
let hypervisor: PretendHypervisor;

beforeEach(async () => {
  plane = await openControlPlane();
  const { client } = plane;
  const spec = { image: "web", memory: "64Mi" };
  const vm = await client.create(VirtualMachine, { metadata: { ...AT, name: "web" }, spec });
  await client.updateStatus(VirtualMachine, { ...vm, status: { sequence: 1 } });
  const { uid: vmUid = "" } = vm.metadata;
  const guestTask = { id: "t", command: ["true"], timeoutSeconds: 5 };
  await client.create(Instance, {
    metadata: AT,
    spec: { ...spec, vm: "web", vmUid, storagePool: "default", interfaces: [], host: "a", guestTask },
  });
  runs = 0;
  hypervisor = new PretendHypervisor(new PretendWorld({ random: () => 0, stepMs: 1, breakage: 0 }), "a");
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  hypervisor.guestExec = async () => {
    runs++;
    await ended;
    return { exitCode: 0, stdout: "ok", stderr: "", truncated: false };
  };
});
afterEach(() => plane.close());

const tasksOf = (client = plane.client) =>
  new GuestTasks({ client, hypervisor, log: silentLogger, opener: newOpener() });
const until = (phase: string) =>
  untilObject(plane.client, Instance, AT, phase, ({ status }) => status?.guestTask?.phase === phase);
const DONE = { id: "t", phase: "Done", exitCode: 0, stdout: "ok" };

it("a look that is older than its begin or its end neither runs it again nor says that its end is not known", async () => {
  const tasks = tasksOf();
  const before = await plane.client.get(Instance, AT);
  if (!before) throw new Error("no instance");
  const ended = tasks.step(before);
  const meanwhile = await until("Running");
  end();
  await ended;
  const { metadata } = await until("Done");
  for (const old of [meanwhile, before]) await tasks.step(old);
  const now = await plane.client.get(Instance, AT);
  expect([runs, now?.status?.guestTask, now?.metadata.resourceVersion]).toEqual([
    1,
    expect.objectContaining(DONE),
    metadata.resourceVersion,
  ]);
});

it("another agent that has seen it before its begin leaves it to who began it", async () => {
  const before = await plane.client.get(Instance, AT);
  if (!before) throw new Error("no instance");
  void tasksOf().step(before);
  await until("Running");
  await tasksOf().step(before);
  end();
  expect((await until("Done")).status?.guestTask).toMatchObject(DONE);
  expect(runs).toBe(1);
});

it("an end that could not be told at first is told by a later look", async () => {
  let away = false;
  const client = overriding(plane.client, {
    updateStatus: async (kind, object) => {
      if (away) throw new ApiError("ServiceUnavailable", "the store does not answer");
      return plane.client.updateStatus(kind, object);
    },
  });
  const tasks = tasksOf(client);
  const before = await plane.client.get(Instance, AT);
  if (!before) throw new Error("no instance");
  const ended = tasks.step(before);
  const meanwhile = await until("Running");
  away = true;
  end();
  await ended;
  away = false;
  await tasks.step(meanwhile);
  expect((await until("Done")).status?.guestTask).toMatchObject(DONE);
  expect(runs).toBe(1);
});

it("one whose begin was told, though that seemed to fail, is run at the next look, and not said to have been lost", async () => {
  let isLost = true;
  const client = overriding(plane.client, {
    updateStatus: async (kind, object) => {
      const written = await plane.client.updateStatus(kind, object);
      if (isLost) throw new ApiError("Timeout", "the answer was lost");
      return written;
    },
  });
  const tasks = tasksOf(client);
  const before = await plane.client.get(Instance, AT);
  if (!before) throw new Error("no instance");
  await tasks.step(before);
  isLost = false;
  expect(runs).toBe(0);
  end();
  await tasks.step(await until("Running"));
  expect((await until("Done")).status?.guestTask).toMatchObject(DONE);
  expect(runs).toBe(1);
});
