/** Live migration between two real hypervisors on one shared disk, and everything that can go wrong on the way. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import { TODAY } from "../../qemu/board.ts";
import { flushTlbs } from "../../qemu/dirty-tracking.ts";
import { cancelOutgoing, startOutgoing } from "../../qemu/migration.ts";
import { Qmp } from "../../qemu/qmp.ts";
import { isFields } from "../../resource/fields.ts";
import { migrationsDnsName } from "../../resource/host-name.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { MachineConfig, MachineId } from "../hypervisor.ts";
import { credentialsOf, type Holder, writeCredentials } from "../testing/credentials.ts";
import { ended, inState, newId, RealMachines, until } from "../testing/real-machines.ts";
import type { QemuHypervisor, QemuHypervisorOptions } from "./qemu-hypervisor.ts";

const machines = new RealMachines();
let source: QemuHypervisor;
let target: QemuHypervisor;
/** The machine at the source, and the one that waits for it at the target. */
let here: MachineId;
let there: MachineId;
let address: string;

beforeEach(() => {
  machine = {};
});

async function pair(
  options: {
    guest?: "busy" | "writer" | "counter";
    source?: Partial<QemuHypervisorOptions>;
    target?: Partial<QemuHypervisorOptions>;
    differs?: Partial<MachineConfig>;
    postCopy?: boolean;
  } = {},
): Promise<void> {
  source = machines.hypervisor("a", options.source);
  target = machines.hypervisor("b", options.target);
  const config = machines.machine(options.guest ?? "writer", machine);
  here = config.id;
  disk = join(machines.folder, `${here}.raw`);
  there = newId();
  const { machineType } = await machines.start(source, config);
  const waiting = { ...config, id: there, machineType, ...options.differs };
  expect(await machines.start(target, waiting, "incoming")).toMatchObject({ state: "incoming" });
  address = await target.listen(there, "127.0.0.1", options.postCopy);
  expect(address).toMatch(/^tcp:127\.0\.0\.1:\d+$/);
}

/** Of the first machine, and so of all that it becomes. */
let disk = "";

async function phase(wanted: string): Promise<void> {
  const progress = await until(async () => {
    const now = await source.migration(here);
    return ["failed", "cancelled", wanted].includes(now.phase) ? now : undefined;
  });
  const { stderr = "" } = progress.phase === wanted ? {} : { stderr: machines.read("b", there, "stderr") };
  expect(progress.phase, `${progress.error} ${stderr}`).toBe(wanted);
}

/** Slow enough to be caught in the middle. */
const SLOW = { source: { migrationBandwidth: 50_000 } };
/** A board on which the writes of a guest under TCG cannot be tracked. */
const STILL: Partial<MachineConfig> = {
  hardware: hardwareOf({ board: "isapc", disks: "ide", nics: "ne2k" }),
};
let machine: Partial<MachineConfig> = {};

async function toTheSwitchover(): Promise<void> {
  await source.migrate(here, address);
  await phase("pre-switchover");
}

async function runsAtTheSource(): Promise<void> {
  await inState(source, here, "running");
  expect(machines.read("a", here, "journal")).not.toContain("SHUTDOWN");
}

describe("a migration", () => {
  it("moves a machine that writes its disk; the source never runs again", async () => {
    await pair();
    expect(await target.listen(there, "127.0.0.1")).toBe(address);
    await expect(target.resume(there)).rejects.toThrow(/not all arrived/);
    await source.migrate(here, address);
    await source.migrate(here, address);
    await phase("pre-switchover");
    const progress = await source.switchover(here);
    expect(progress).toMatchObject({ phase: "completed", remainingBytes: 0 });
    expect(progress.transferredBytes).toBeGreaterThan(100_000);
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    expect(await source.get(here)).toMatchObject({ state: "postmigrate" });
    await inState(target, there, "paused");
    await target.resume(there);
    await target.resume(there);
    expect(await target.get(there)).toMatchObject({ state: "running" });
    await expect(source.resume(here)).rejects.toThrow(/lock/);
    // A stop of what has been sent must not wake it: its disks are another's.
    const resumed = () => machines.read("a", here, "journal").match(/"RESUME"/g)?.length;
    const before = resumed();
    await source.stop(here, 500);
    expect(resumed()).toBe(before);
    expect(await target.get(there)).toMatchObject({ state: "running" });
    process.kill((await target.get(there))?.pid ?? 0, "SIGKILL");
    expect(await ended(target, there)).toMatchObject({ reason: "Killed" }); // no longer an incoming one
  });

  it("of a guest under TCG on an old board sends the memory of one that stands still: QEMU would lose what it writes meanwhile", async () => {
    machine = STILL;
    await pair(SLOW);
    await source.migrate(here, address);
    await phase("active");
    const held = { state: "paused", pausedBy: "migration" };
    expect(await source.get(here)).toMatchObject(held);
    await source.migrate(here, address);
    // The next agent knows, too, and lets it go on when it is called off.
    source.close();
    source = machines.hypervisor("a");
    expect(await source.get(here)).toMatchObject(held);
    await source.cancelMigration(here);
    expect(await source.get(here)).toMatchObject({ state: "running" });
    expect(await source.migration(here)).toMatchObject({ phase: "cancelled" });
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
    await runsAtTheSource();
  });

  it("that cannot begin lets the guest go on", async () => {
    await pair();
    await expect(source.migrate(here, "exec:true")).rejects.toThrow(/not an address/);
    await runsAtTheSource();
  });

  it("goes on under an agent that was killed in the middle, at either end", async () => {
    await pair();
    await toTheSwitchover();
    source.close();
    target.close();
    const [nextSource, nextTarget] = [machines.hypervisor("a"), machines.hypervisor("b")];
    expect(await nextSource.migration(here)).toMatchObject({ phase: "pre-switchover" });
    expect(await nextTarget.get(there)).toMatchObject({ state: "incoming" });
    expect(await nextTarget.listen(there, "127.0.0.1")).toBe(address);
    expect(await nextSource.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(nextTarget, there, "paused");
    const record = machines.read("b", there, "record.json");
    nextTarget.close();
    await machines.hypervisor("b").resume(there);
    // As if that one had died before it wrote down that the machine runs here: a later death is no failed migration.
    writeFileSync(machines.path("b", there, "record.json"), record);
    const last = machines.hypervisor("b");
    expect(await last.get(there)).toMatchObject({ state: "running" });
    await last.kill(there);
    writeFileSync(machines.path("b", there, "record.json"), record);
    expect(await last.get(there)).toMatchObject({ state: "ended", end: { reason: "Killed" } });
  });

  it("that was not taken over is no migration any more once the source runs on; the machine can move again", async () => {
    await pair();
    await toTheSwitchover();
    await source.switchover(here);
    await target.kill(there);
    await target.forget(there);
    expect(await source.migration(here)).toMatchObject({ phase: "completed" });
    await source.resume(here);
    expect(await source.migration(here)).toMatchObject({ phase: "none" });
    await runsAtTheSource();
    const config = machines.machine("writer");
    const disks = [{ path: disk, format: "raw" as const, readOnly: false }];
    await machines.start(target, { ...config, id: there, disks }, "incoming");
    address = await target.listen(there, "127.0.0.1");
    await toTheSwitchover();
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await target.resume(there);
  });

  it("goes on from where it went to, and back: what QEMU keeps of the last one is not taken for the next", async () => {
    await pair();
    const disks = [{ path: disk, format: "raw" as const, readOnly: false }];
    for (let hop = 0; hop < 3; hop++) {
      await toTheSwitchover();
      expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
      await inState(target, there, "paused");
      await target.resume(there);
      expect(await target.migration(there)).toMatchObject({ phase: "none" });
      await source.kill(here);
      await source.forget(here);
      [source, target, here, there] = [target, source, there, newId()];
      await machines.start(target, { ...machines.machine("writer"), id: there, disks }, "incoming");
      address = await target.listen(there, "127.0.0.1");
    }
  });

  it("loses nothing of what a guest under TCG writes while its memory is sent", async () => {
    // So slow that there would be several passes, after the first of which QEMU alone notices nothing any more.
    const slow = { migrationBandwidth: 1_000_000 };
    await pair({ guest: "counter", source: slow, target: slow });
    const said = (name: string, id: MachineId) => machines.serial(name, id);
    let at = "a";
    for (let hop = 0; hop < 4; hop++) {
      const before = said(at, here).length;
      await until(() => (said(at, here).length > before + 5 ? true : undefined));
      await source.migrate(here, address);
      expect(await source.get(here)).not.toHaveProperty("pausedBy", "migration"); // it runs on meanwhile
      await phase("pre-switchover");
      expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
      await inState(target, there, "paused");
      await target.resume(there);
      const disks = [{ path: disk, format: "raw" as const, readOnly: false }];
      await source.kill(here);
      await source.forget(here);
      [source, target, here, there] = [target, source, there, newId()];
      at = at === "a" ? "b" : "a";
      await machines.start(target, { ...machines.machine("counter"), id: there, disks }, "incoming");
      address = await target.listen(there, "127.0.0.1");
    }
    await until(() => (said(at, here).length > 20 ? true : undefined));
    expect(said(at, here)).toMatch(/^\.+$/);
  });

  it("sends no memory before the guest's writes are tracked, and its agent may be killed until then", async () => {
    await pair({ guest: "counter" });
    source.close();
    const qmp = await Qmp.connect(machines.path("a", here, "s/qmp"));
    await startOutgoing(qmp, { uri: address, heldBack: true, onePass: true });
    const sent = await until(async () => {
      const answer = await qmp.execute("query-migrate");
      const { ram, ...fields } = isFields(answer) ? answer : {};
      // Several of the tenths of a second by which QEMU counts.
      return Number(fields["total-time"]) > 500 && isFields(ram) ? ram : undefined;
    });
    expect(sent).toMatchObject({ normal: 0, duplicate: 0, "dirty-sync-count": 1 });
    qmp.close();
    source = machines.hypervisor("a");
    expect(await source.migration(here)).toMatchObject({ phase: "active" });
    await source.migrate(here, address);
    await phase("pre-switchover");
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await target.resume(there);
    await until(() => (machines.serial("b", there).length > 5 ? true : undefined));
    expect(machines.serial("b", there)).toMatch(/^\.+$/);
  });

  it("is sent as it was asked to be: at most so many bytes a second, and slowed down when the guest writes too much", async () => {
    await pair({ guest: "busy" });
    await source.migrate(here, address, { bytesPerSecond: 200_000, downtimeMs: 40 });
    const sent = () => source.migration(here).then(({ transferredBytes }) => transferredBytes);
    const [from, begun] = [await sent(), performance.now()];
    await until(async () => ((await sent()) > from + 100_000 ? true : undefined));
    const seconds = (performance.now() - begun) / 1000;
    // QEMU counts by tenths of a second.
    expect((await sent()) - from).toBeLessThan(200_000 * (seconds + 0.3));
    source.close();
    const qmp = await Qmp.connect(machines.path("a", here, "s/qmp"));
    expect(await qmp.execute("query-migrate-parameters")).toMatchObject({ "max-bandwidth": 200_000 });
    expect(await qmp.execute("query-migrate-capabilities")).toContainEqual({
      capability: "auto-converge",
      state: true,
    });
    qmp.close();
  });

  it("takes processors from a guest that writes more than is sent, where there is more than one pass", async () => {
    await pair({ guest: "busy" });
    const uri = await target.listen(there, "127.0.0.1");
    source.close();
    const qmp = await Qmp.connect(machines.path("a", here, "s/qmp"));
    // As the hypervisor does with KVM.
    await startOutgoing(qmp, { uri, bandwidth: 300_000 });
    const throttle = () =>
      qmp
        .execute("query-migrate")
        .then((answer) => (isFields(answer) ? Number(answer["cpu-throttle-percentage"] ?? 0) : 0));
    expect(await throttle()).toBe(0);
    const first = await until(async () => {
      // Without KVM QEMU sees of what a guest writes again and again only the first time, unless its TLB is emptied.
      await qmp.execute("stop");
      await flushTlbs(qmp, TODAY.board);
      await qmp.execute("cont");
      return (await throttle()) || undefined;
    }, 60_000);
    expect(first).toBeGreaterThanOrEqual(20);
    await cancelOutgoing(qmp);
    qmp.close();
  });

  it("goes from the switchover on by itself when nothing is left to be done there", async () => {
    await pair();
    await source.migrate(here, address, { switchesOver: true });
    await phase("completed");
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await target.resume(there);
    expect(await target.get(there)).toMatchObject({ state: "running" });
  });

  it("with post-copy goes on at the target before all is there, and loses nothing", async () => {
    const slow = { migrationBandwidth: 2_000_000 };
    await pair({ guest: "counter", source: slow, postCopy: true });
    await until(() => (machines.serial("a", here).length > 5 ? true : undefined));
    await source.migrate(here, address, { postCopy: true });
    await source.startPostCopy(here);
    await phase("pre-switchover");
    expect(await source.switchover(here)).toMatchObject({ phase: "post-copy" });
    await inState(target, there, "paused");
    await target.resume(there);
    await phase("completed");
    await until(() => (machines.serial("b", there).length > 20 ? true : undefined));
    expect(machines.serial("b", there)).toMatch(/^\.+$/);
    expect(await target.get(there)).toMatchObject({ state: "running" });
  });

  it("with post-copy tells that the rest never comes when the source dies in the middle", async () => {
    const slow = { migrationBandwidth: 100_000 };
    await pair({ guest: "counter", source: slow, postCopy: true });
    await source.migrate(here, address, { postCopy: true });
    await source.startPostCopy(here);
    await phase("pre-switchover");
    await source.switchover(here);
    await inState(target, there, "paused");
    await target.resume(there);
    await source.kill(here);
    await until(async () => ((await target.get(there))?.pausedBy === "lost" ? true : undefined));
  });

  it("of a guest that writes all the time ends; the outage is as short as QEMU was told", async () => {
    await pair({ guest: "busy" });
    await toTheSwitchover();
    const progress = await source.switchover(here);
    expect(progress.phase).toBe("completed");
    // Includes the wait in pre-switchover, which this test polls.
    expect(progress.downtimeMs).toBeLessThan(1000);
  });
});

describe.each([
  { sent: "while it stands still", of: STILL },
  { sent: "while it runs", of: {} },
])("what goes wrong before the hand-over leaves the machine running at the source: sent $sent", ({ of }) => {
  beforeEach(() => {
    machine = of;
  });

  it("called off while it sends", async () => {
    await pair(SLOW);
    await source.migrate(here, address);
    await phase("active");
    await expect(source.switchover(here)).rejects.toThrow(/cannot switch over yet/);
    await source.cancelMigration(here);
    await source.cancelMigration(here);
    expect(await source.migration(here)).toMatchObject({ phase: "cancelled" });
    await runsAtTheSource();
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
  });

  it("called off before the switchover", async () => {
    await pair();
    await toTheSwitchover();
    await source.cancelMigration(here);
    await runsAtTheSource();
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
  });

  it("the target is killed while it receives", async () => {
    await pair(SLOW);
    await source.migrate(here, address);
    await phase("active");
    process.kill((await target.get(there))?.pid ?? 0, "SIGKILL");
    await phase("failed");
    await runsAtTheSource();
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
  });

  it("the target is killed before the switchover: failed, or sent to nobody and resumed", async () => {
    await pair();
    await toTheSwitchover();
    await target.kill(there);
    // The rest may fit into the dead connection's buffer: then QEMU says completed, and nobody will confirm it.
    const { phase: last } = await source.switchover(here);
    expect(["failed", "completed"]).toContain(last);
    if (last === "completed") await source.resume(here);
    await runsAtTheSource();
  });

  it("the target hangs in the switchover", async () => {
    await pair({ guest: "busy" });
    await toTheSwitchover();
    const { pid = 0 } = (await target.get(there)) ?? {};
    process.kill(pid, "SIGSTOP");
    const { phase: last } = await source.switchover(here); // the rest is small: a socket takes it
    expect(["cancelled", "failed", "completed"]).toContain(last);
    if (last === "completed") await source.resume(here);
    await runsAtTheSource();
    // Silence is never "running": that would mean that the target may write the disk.
    expect(await target.get(there)).toMatchObject({ state: "incoming" });
  });

  it("the target refuses: its end says why", async () => {
    await pair({ differs: { memory: parseBytes("128Mi") } });
    await source.migrate(here, address).catch(() => undefined); // refused at once, or a moment later
    await phase("failed");
    await runsAtTheSource();
    expect(await ended(target, there)).toEqual({
      reason: "MigrationFailed",
      message: expect.stringMatching(/Size mismatch: pc\.ram/),
    });
  });

  it("nobody listens", async () => {
    await pair();
    await target.kill(there);
    await source.migrate(here, address).catch(() => undefined);
    await phase("failed");
    expect((await source.migration(here)).error).toMatch(/[Cc]onnect/);
    await runsAtTheSource();
  });

  it("the source is killed: the target has nothing and ends", async () => {
    await pair();
    await toTheSwitchover();
    await source.kill(here);
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
  });
});

describe("encrypted migration", () => {
  const as = (holder: Holder) => credentialsOf(machines.folder, holder);

  beforeEach(() => writeCredentials(machines.folder));

  it("moves a machine; both ends are proven by name", async () => {
    await pair({ source: as("a"), target: as("b"), differs: { sender: "a" } });
    await source.migrate(here, address, { tlsHostname: migrationsDnsName("b") });
    await phase("pre-switchover");
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await target.resume(there);
    // The keys were lent for the moment only.
    expect(existsSync(machines.path("a", here, "tls"))).toBe(false);
    expect(existsSync(machines.path("b", there, "tls"))).toBe(false);
    // And QEMU keeps them no longer than it is told to.
    target.close();
    const keys = async () => {
      const qmp = await until(() =>
        Qmp.connect(machines.path("b", there, "s/qmp"), 2000).catch(() => undefined),
      );
      const all = await qmp.execute("qom-list", { path: "/objects" }).finally(() => qmp.close());
      return (Array.isArray(all) ? all.filter(isFields) : []).flatMap(({ name }) => {
        return String(name).startsWith("tls") ? [name] : [];
      });
    };
    expect(await keys()).toEqual(["tls-peers", "tls-server"]);
    target = machines.hypervisor("b", as("b"));
    for (let time = 0; time < 2; time++) await target.dropCredentials(there);
    target.close();
    expect(await keys()).toEqual([]);
  });

  const [toB, toC] = [migrationsDnsName("b"), migrationsDnsName("c")];
  const refused: [string, Holder, string, RegExp, string][] = [
    ["from another host than the machine's own", "a", toB, /authz check .* is denied/, "c"],
    ["to a host of another name", "a", toC, /does not match the hostname/, "a"],
    ["from a host of another CA", "foreign", toB, /Verify failed/, "a"],
    ["from whoever shows what a host's agent logs in by", "login", toB, /authz check .* is denied/, "a"],
    ["from somebody who is no host, whatever his name", "user", toB, /authz check .* is denied/, "a"],
  ];
  it.each(refused)("is refused %s", async (_, name, tlsHostname, reason, sender) => {
    await pair({ source: as(name), target: as("b"), differs: { sender } });
    const refusal = await source
      .migrate(here, address, { tlsHostname })
      .catch((error: unknown) => String(error));
    await phase("failed");
    const error = (await source.migration(here)).error ?? "";
    expect(error + refusal + machines.read("b", there, "stderr")).toMatch(reason);
    await runsAtTheSource();
    expect((await target.get(there))?.state).not.toBe("paused");
  });

  it("is not listened for when it is not known who is to send", async () => {
    const refused = await pair({ target: as("b") }).catch((error: unknown) => String(error));
    expect(refused).toMatch(/not known which host is to send/);
  });

  it("is refused from a source without credentials", async () => {
    await pair({ target: as("b"), differs: { sender: "a" } });
    await source.migrate(here, address).catch(() => undefined);
    await phase("failed");
    await runsAtTheSource();
  });

  it("says when this host has no credentials", async () => {
    await pair({ source: as("nobody"), target: as("b"), differs: { sender: "a" } });
    await expect(source.migrate(here, address)).rejects.toThrow(/has no certificate for migrations/);
    await runsAtTheSource();
  });
});
