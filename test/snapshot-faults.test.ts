/** Snapshots and rollbacks whose QEMU, storage or agent fails in the middle: nothing is told that is not so, and what the guest writes is never lost. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NoRoomError } from "../src/agent/disks/merge-room.ts";
import { HypervisorError, NoAnswerError } from "../src/agent/hypervisor.ts";
import { PrepareError } from "../src/agent/prepare-error.ts";
import { pretendTool } from "../src/agent/testing/pretend-layers.ts";
import type { PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import { until, untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { type Estate, NS } from "../src/compute/testing/estate.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { CommandError } from "../src/system/run.ts";
import { PretendHost } from "./support/pretend-host.ts";

let host: PretendHost;
let estate: Estate;
let world: PretendWorld;

const SILENT = () => new NoAnswerError("web: its QEMU does not answer");
const at = (name: string) => ({ name, namespace: NS });
const snapshot = (name: string, wanted = "Ready") =>
  untilObject(estate.client, Snapshot, at(name), wanted, (s) => s.status?.phase === wanted);
const create = (name: string, memory = false) =>
  estate.client.create(Snapshot, { metadata: at(name), spec: { vm: "web", quiesce: true, memory } });
const take = async (name: string) => {
  await create(name);
  return snapshot(name);
};
const rollback = (name: string, to: string, wanted = "Succeeded", keep = true) =>
  estate.client
    .create(Rollback, { metadata: at(name), spec: { vm: "web", snapshot: to, keep, memory: true } })
    .then(() => untilObject(estate.client, Rollback, at(name), wanted, (r) => r.status?.phase === wanted));
const free = () => estate.vm("web", (vm) => !vm.status?.disksBusy, "free");
const events = async (reason: string) =>
  (await estate.client.list(Event, { namespace: NS })).items.filter((event) => event.spec.reason === reason);
const folder = async () => dirname((await host.runs()).config.disks[0]?.path ?? "");
const crash = () => {
  const [id] = [...world.machines].find(([, m]) => m.state === "running") ?? [];
  if (id) world.crash(id);
};
/** The guest starts anew, from what the agent takes for its disks. */
const startAnew = async () => {
  const restarts = (await estate.vm("web")).status?.restarts ?? 0;
  crash();
  await estate.vm("web", (vm) => vm.status?.phase === "Running" && vm.status.restarts === restarts + 1);
};
/** Lets calls go wrong until it is called with nothing. @returns how often they did */
function fail(wrong: Partial<Record<string, () => Error | undefined>>): () => number {
  let times = 0;
  world.fault = (call, when) => {
    const error = wrong[`${when} ${call}`]?.();
    if (!error) return;
    times++;
    throw error;
  };
  return () => times;
}
/** QEMU makes the switch, and says no more. */
function silentFromSwitch(): () => number {
  let isSwitched = false;
  return fail({
    "after switchLayers": () => {
      isSwitched = true;
      return SILENT();
    },
    "before activeLayers": () => (isSwitched ? SILENT() : undefined),
  });
}
const times = (count: () => number, wanted: number) =>
  until(`${wanted} faults`, async () => (count() >= wanted ? true : undefined));

beforeEach(async () => {
  host = await PretendHost.open();
  ({ estate, world } = host);
  await estate.createMachine("web", { readiness: {} });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
  await host.write(1);
});
afterEach(async () => {
  world.fault = () => {};
  await host.close();
  expect(world.violations).toEqual([]);
});

describe("a QEMU that does not answer", () => {
  it("while its disks are switched: the snapshot is not Failed, and what is written meanwhile is there", async () => {
    const count = silentFromSwitch();
    await create("one");
    await times(count, 2);
    await host.write(2); // into the overlay: QEMU has made the switch
    expect((await estate.client.get(Snapshot, at("one")))?.status?.phase).toBe("Taking");
    expect((await events("DisksWait")).map(({ spec }) => spec.message)).toEqual([
      "a snapshot of it waits, and is tried again: web: its QEMU does not answer",
    ]);
    fail({});
    expect((await snapshot("one")).status?.taken).toMatchObject({ consistent: "Crash" });
    await free();
    await startAnew();
    expect(await host.read()).toBe(2);
    await rollback("back", "one");
    expect(await host.read()).toBe(1);
  });

  it("deleted meanwhile, it costs nothing that was written since", async () => {
    const count = silentFromSwitch();
    await create("one");
    await times(count, 2);
    await host.write(2);
    await estate.client.delete(Snapshot, at("one"));
    fail({});
    await untilGone(estate.client, Snapshot, at("one"));
    await free();
    await startAnew();
    expect(await host.read()).toBe(2);
  });

  it("what only waits behind it is called off by deleting it, and nothing comes of that", async () => {
    await take("one");
    await free();
    const count = silentFromSwitch();
    await create("two");
    await times(count, 2);
    await create("three");
    await estate.client.create(Rollback, {
      metadata: at("back"),
      spec: { vm: "web", snapshot: "one", keep: true, memory: true },
    });
    await host.write(2);
    await estate.client.delete(Snapshot, at("three"));
    await estate.client.delete(Rollback, at("back"));
    expect(await estate.client.get(Snapshot, at("three"))).toBeUndefined();
    fail({});
    await snapshot("two");
    await free();
    expect(await host.read()).toBe(2);
    const kept = (await estate.client.list(Snapshot, { namespace: NS })).items;
    expect(kept.map(({ metadata }) => metadata.name).sort()).toEqual(["one", "two"]);
  });

  it("with memory: Failed is told once QEMU says how its disks are, and they are whole", async () => {
    const count = silentFromSwitch();
    await create("one", true);
    await times(count, 2);
    await host.write(2);
    expect((await estate.client.get(Snapshot, at("one")))?.status?.phase).toBe("Taking");
    fail({});
    expect((await snapshot("one", "Failed")).status?.message).toContain("cut short");
    await free();
    await startAnew();
    expect(await host.read()).toBe(2);
    expect(readdirSync(await folder()).filter((name) => name.endsWith(".qcow2"))).toHaveLength(1);
  });

  it("one that is told to have failed, and has switched: it is taken", async () => {
    fail({ "after switchLayers": () => new HypervisorError("web: pretended") });
    await take("one");
    await host.write(2);
    await free();
    await startAnew();
    expect(await host.read()).toBe(2);
  });

  it("as an older agent left it, told Failed: the deletion asks QEMU first", async () => {
    const count = silentFromSwitch();
    await create("one");
    await times(count, 2);
    await host.write(2);
    // What the older agent wrote.
    const instance = (await estate.client.list(Instance)).items.at(-1);
    if (!instance?.spec.diskTask) throw new Error("no task");
    const { id } = instance.spec.diskTask;
    const diskTask = { id, time: new Date().toISOString(), phase: "Failed", message: "old" } as const;
    await estate.client.patch(
      Instance,
      at(instance.metadata.name),
      { status: { diskTask } },
      { subresource: "status" },
    );
    await snapshot("one", "Failed");
    await free();
    fail({});
    await estate.client.delete(Snapshot, at("one"));
    await untilGone(estate.client, Snapshot, at("one"));
    await free();
    await startAnew();
    expect(await host.read()).toBe(2);
  });
});

describe("a rollback", () => {
  const FULL = () => new CommandError("qemu-img: No space left on device");
  const overlays = async () =>
    readdirSync(await folder())
      .filter((name) => name.endsWith(".qcow2"))
      .sort();

  it("that was done is told so, whatever can not be freed after it; the state before is kept", async () => {
    await take("one");
    await host.write(2);
    await take("two");
    await host.write(3);
    await rollback("back", "one", "Succeeded", false);
    await free();
    await estate.client.delete(Snapshot, at("one"));
    await untilGone(estate.client, Snapshot, at("one"));
    // Two branches stood on it; from now on one does, and it could be merged into that.
    const count = fail({ "before rebase": FULL });
    const forth = await rollback("forth", "two", "Succeeded", false);
    expect(count()).toBe(1);
    expect(forth.status?.message).toContain("No space left");
    expect(await host.read()).toBe(2);
    await host.write(4);
    await free();
    await rollback("again", "two");
    expect(count()).toBe(2);
    expect((await snapshot("again-before")).status?.taken).toMatchObject({ disks: [{ name: "root" }] });
    await free();
    fail({});
    await rollback("last", "again-before", "Succeeded", false);
    expect(await host.read()).toBe(4);
    await free();
    // What could not be freed then, is.
    await estate.client.delete(Snapshot, at("again-before"));
    await untilGone(estate.client, Snapshot, at("again-before"));
    await estate.client.delete(Snapshot, at("two"));
    await untilGone(estate.client, Snapshot, at("two"));
    expect(await overlays()).toHaveLength(1);
    expect(await host.read()).toBe(4);
  });

  it.each([
    ["its pool is full", async () => fail({ "before create": FULL }), "No space left"],
    [
      "the snapshot's record is odd",
      async (uid: string) => writeFileSync(join(await folder(), `snapshots/${uid}.json`), "odd"),
      "is not as Vireo wrote it",
    ],
    [
      "its layers are odd",
      async (uid: string) => {
        const path = join(await folder(), `snapshots/${uid}.json`);
        writeFileSync(path, readFileSync(path, "utf8").replace("root.qcow2", "gone.qcow2"));
      },
      "gone.qcow2",
    ],
  ])("that cannot be leaves the guest as it runs: %s", async (_what, spoil, message) => {
    const one = await take("one");
    await host.write(2);
    await host.think(22);
    await free();
    const before = await overlays();
    await spoil(one.metadata.uid ?? "");
    const failed = await rollback("back", "one", "Failed");
    expect(failed.status?.message).toContain(message);
    await free();
    expect([await host.read(), await host.thinks()]).toEqual([2, 22]);
    expect((await estate.vm("web")).status).toMatchObject({ phase: "Running", restarts: 0 });
    expect(await overlays()).toEqual(before);
    fail({});
    await new Promise((resolve) => setTimeout(resolve, 100)); // nothing that ends it comes later
    expect(await host.thinks()).toBe(22);
  });

  it("that fails once the guest has ended leaves the disks as they were, and nothing of itself", async () => {
    await take("one");
    await host.write(2);
    await free();
    const before = await overlays();
    let ended = false;
    world.fault = (call) => {
      ended ||= call === "kill";
      if (ended && call === "replace") throw FULL();
    };
    await rollback("back", "one", "Failed");
    world.fault = () => {};
    await estate.vm("web", (vm) => vm.status?.phase === "Running" && !vm.status.disksBusy, "Running");
    expect(await host.read()).toBe(2);
    expect(await overlays()).toEqual(before);
    expect((await estate.vm("web")).status?.restarts).toBe(0);
  });
});

describe("a task on a guest that stands still", () => {
  it("fails when it cannot be done, and lets go of the disks", async () => {
    await estate.client.patch(VirtualMachine, at("web"), { spec: { paused: true } });
    await until("paused", async () => [...world.machines.values()].some(({ state }) => state === "paused"));
    fail({ "before switchLayers": () => new HypervisorError("web: no room") });
    await create("one");
    expect((await snapshot("one", "Failed")).status?.message).toBe("web: no room");
    await free();
  });
});

describe("a disk that is not as Vireo made it", () => {
  it.each([
    ["before", "a snapshot is begun"],
    ["after", "its disks are switched"],
  ] as const)(
    "%s %s: it is told as failed, in an Event, too, and lets go of the disks",
    async (when, _what) => {
      const path = (await host.runs()).config.disks[0]?.path ?? "";
      const whole = readFileSync(path);
      const tamper = () => pretendTool(new Map(), () => false).restore(path, "/etc/shadow");
      if (when === "before") await tamper();
      else
        world.fault = (call, at) => {
          if (call === "switchLayers" && at === "after") void tamper();
        };
      await create("one");
      expect((await snapshot("one", "Failed")).status?.message).toContain('"/etc/shadow"');
      await free();
      const told = await until("an Event", async () => (await events("ForeignDisk"))[0]);
      expect(told.spec.message).toContain("Vireo has not put there");
      if (when === "before") {
        expect(readdirSync(dirname(path)).filter((name) => name.endsWith(".qcow2"))).toEqual(["root.qcow2"]);
        expect((await host.runs()).config.disks[0]?.path).toBe(path);
      }
      // Whoever brings it back as it was can go on.
      world.fault = () => {};
      writeFileSync(path, whole);
      await host.write(2);
      await take("two");
      await startAnew();
      expect(await host.read()).toBe(2);
    },
  );
});

describe("a guest that an agent has frozen, and then died", () => {
  /** The agent dies once the guest is frozen, before or after the disks are switched. */
  function dies(when: "before" | "after", then: () => void = () => {}): void {
    let dead = false;
    world.frozen = new Set();
    world.fault = (call, at) => {
      if (dead || call !== "switchLayers" || at !== when) return;
      dead = true;
      expect(world.frozen?.size).toBe(1);
      host.startAgent();
      then();
    };
  }
  const thawed = () => until("the thaw", async () => world.frozen?.size === 0);

  it.each(["before", "after"] as const)("is thawed by the next one (%s the switch)", async (when) => {
    dies(when);
    await create("one");
    await snapshot("one");
    expect(world.frozen).toEqual(new Set());
  });

  it("is thawed also when the next one can do nothing else", async () => {
    dies("after", () => {
      world.fault = (call) => {
        if (call === "layers") throw new PrepareError("the StoragePool default does not exist");
      };
    });
    await create("one");
    await until("the next agent", async () => (await events("DisksWait")).length > 0);
    await thawed();
    expect((await estate.client.get(Snapshot, at("one")))?.status?.phase).toBe("Taking");
    world.fault = () => {};
    await snapshot("one");
    expect(world.frozen).toEqual(new Set());
  });
});

describe("a pool without room to merge layers", () => {
  it("lets a deletion wait, which says so, while the guest writes on; it is done once there is room", async () => {
    await take("one");
    const count = fail({ "before absorbLayer": () => new NoRoomError("its storage pool has no room") });
    await estate.client.delete(Snapshot, at("one"));
    await times(count, 2);
    expect((await snapshot("one", "Deleting")).status?.message).toContain("its storage pool has no room");
    await host.write(2);
    fail({});
    await untilGone(estate.client, Snapshot, at("one"));
    expect(await host.read()).toBe(2);
  });
});

describe("a layer that is merged away holds what the guest has written until that is sure to be elsewhere", () => {
  const deleted = async (name: string) => {
    await estate.client.delete(Snapshot, at(name));
    await untilGone(estate.client, Snapshot, at(name));
    await free();
  };
  /** After the one crash, from what the agent takes for its disks. */
  const runsAgain = () =>
    estate.vm("web", (vm) => vm.status?.phase === "Running" && vm.status.restarts === 1, "running again");
  const layers = async () => readdirSync(await folder()).filter((name) => name.endsWith(".qcow2"));

  it("QEMU is killed when it has copied, and has not written where", async () => {
    await take("one");
    await free();
    let killed = 0;
    world.fault = (call, when) => {
      if (`${when} ${call}` === "after absorbLayer" && killed++ === 0) crash();
    };
    await deleted("one");
    expect(killed).toBeGreaterThan(0);
    await runsAgain();
    expect(await host.read()).toBe(1);
    expect(await layers()).toHaveLength(1);
  });

  it("QEMU and the agent are, and the next run begins before anything else is done", async () => {
    await take("one");
    await free();
    let killed = false;
    world.fault = (call, when) => {
      if (killed || `${when} ${call}` !== "after absorbLayer") return;
      killed = true;
      crash();
      host.startAgent();
    };
    await deleted("one");
    expect(killed).toBe(true);
    await runsAgain();
    expect(await host.read()).toBe(1);
    expect(await layers()).toHaveLength(1);
  });

  it("an agent dies meanwhile: the next one has QEMU finish it", async () => {
    await take("one");
    await free();
    let dead = false;
    world.fault = (call, when) => {
      if (dead || `${when} ${call}` !== "after absorbLayer") return;
      dead = true;
      host.startAgent();
    };
    await deleted("one");
    await startAnew();
    expect(await host.read()).toBe(1);
    expect(await layers()).toHaveLength(1);
  });
});

describe("custody", () => {
  it("is not given up before the process is gone: a start that fails, and a QEMU that cannot be killed", async () => {
    await create("one", true);
    await snapshot("one");
    await host.write(2);
    await free();
    const ended = (await host.runs()).config.name;
    // The next run goes on with the memory, which fails at `cont`; then it hangs in its storage.
    let stuck = 0;
    world.fault = (call) => {
      if (call === "resume") throw SILENT();
      if (call === "kill" && [...world.machines.values()].some((m) => m.state === "paused")) {
        stuck++;
        throw new HypervisorError("process 1 of web-2 cannot be killed");
      }
    };
    await estate.client.create(Rollback, {
      metadata: at("back"),
      spec: { vm: "web", snapshot: "one", keep: false, memory: true },
    });
    await until("a QEMU that cannot be killed", async () => stuck >= 2);
    const [next] = (await estate.client.list(Instance)).items.filter(
      ({ metadata, spec }) => spec.vm === "web" && metadata.name !== ended,
    );
    expect(next?.status).toMatchObject({ custody: "Held" });
    world.fault = () => {};
    const over = await untilObject(
      estate.client,
      Instance,
      at(next?.metadata.name ?? ""),
      "over or running",
      ({ status }) => status?.custody === "Released" || status?.phase === "Running",
    );
    expect(["Running", "Failed"]).toContain(over.status?.phase);
  });
});
