/** A temporary folder with real hypervisors and guests of one boot sector; everything is gone after each test. */
import { randomUUID } from "node:crypto";
import { chownSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { giveUp, ownFolder } from "../../system/testing/owned-folder.ts";
import type { MachineConfig, MachineEnd, MachineId, MachineState } from "../hypervisor.ts";
import { QemuHypervisor, type QemuHypervisorOptions } from "../qemu/qemu-hypervisor.ts";

export const USER = { uid: 200_001, gid: 200_000 };
// Safe: any uuid may name a machine.
export const newId = () => randomUUID() as string as MachineId;

/** Waits for a condition, bounded. @throws Error that tells what was seen last */
export async function until<T>(look: () => Promise<T | undefined> | T | undefined, ms = 20_000): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export class RealMachines {
  folder = "";
  readonly #started: { hypervisor: QemuHypervisor; id: MachineId }[] = [];
  readonly #hypervisors: QemuHypervisor[] = [];

  constructor() {
    beforeEach(() => {
      this.folder = ownFolder("vireo-qemu-");
    });
    afterEach(async () => {
      for (const { hypervisor, id } of this.#started.splice(0)) await hypervisor.kill(id);
      for (const hypervisor of this.#hypervisors.splice(0)) hypervisor.close();
      rmSync(this.folder, { recursive: true, force: true });
      giveUp(this.folder);
    });
  }

  hypervisor(name: string, options: Partial<QemuHypervisorOptions> = {}): QemuHypervisor {
    const made = new QemuHypervisor({
      runDirectory: join(this.folder, name),
      log: silentLogger,
      ...options,
    });
    this.#hypervisors.push(made);
    return made;
  }

  machine(guest: Parameters<typeof writeBootDisk>[1], more: Partial<MachineConfig> = {}): MachineConfig {
    const id = newId();
    const path = join(this.folder, `${id}.raw`);
    writeBootDisk(path, guest);
    chownSync(path, USER.uid, USER.gid);
    return {
      id,
      name: guest,
      cpus: 1,
      memory: parseBytes("64Mi"),
      disks: [{ path, format: "raw", readOnly: false }],
      nics: [],
      accelerator: "tcg",
      user: USER,
      ...more,
    };
  }

  async start(
    hypervisor: QemuHypervisor,
    config: MachineConfig,
    how: "run" | "incoming" = "run",
  ): Promise<MachineState> {
    this.willRun(hypervisor, config.id);
    return hypervisor.start(config, how);
  }

  /** Has it killed in the end, whoever starts it. */
  willRun(hypervisor: QemuHypervisor, id: MachineId): void {
    this.#started.push({ hypervisor, id });
  }

  /** A file of a machine's run folder. */
  path(hypervisor: string, id: MachineId, file: string): string {
    return join(this.folder, hypervisor, id.replaceAll("-", "").slice(0, 12), file);
  }

  /** What its guest has said on the serial port. */
  serial(hypervisor: string, id: MachineId): string {
    const folder = this.path(hypervisor, id, "serial");
    return readdirSync(folder)
      .sort()
      .map((name) => readFileSync(join(folder, name), "latin1"))
      .join("");
  }

  read(hypervisor: string, id: MachineId, file: string): string {
    return readFileSync(this.path(hypervisor, id, file), "utf8");
  }
}

export const ended = (hypervisor: QemuHypervisor, id: MachineId): Promise<MachineEnd> =>
  until(async () => {
    const state = await hypervisor.get(id);
    return state?.state === "ended" ? state.end : undefined;
  });

export const inState = (
  hypervisor: QemuHypervisor,
  id: MachineId,
  wanted: MachineState["state"],
): Promise<true> =>
  until(async () => ((await hypervisor.get(id))?.state === wanted ? (true as const) : undefined));

/** Sends a machine live to one that waits for it, as far as the hand-over: it does not run there yet. @throws Error that tells why not */
export async function send(
  source: QemuHypervisor,
  id: MachineId,
  target: QemuHypervisor,
  there: MachineId,
): Promise<void> {
  const why = async (error?: string) => `${error ?? ""} ${(await target.get(there))?.end?.message ?? ""}`;
  await source.migrate(id, await target.listen(there, "127.0.0.1"));
  await until(async () => {
    const { phase, error } = await source.migration(id);
    if (phase === "failed" || phase === "cancelled") throw new Error(await why(error));
    return phase === "pre-switchover" ? true : undefined;
  });
  const { phase, error } = await source.switchover(id);
  if (phase !== "completed") throw new Error(`${phase}: ${await why(error)}`);
  await inState(target, there, "paused");
}

/** As send; and then it is the target's. */
export async function moveLive(...[source, id, target, there]: Parameters<typeof send>): Promise<void> {
  await send(source, id, target, there);
  await target.resume(there);
}
