/** The consoles of real machines, as the agent of their host has them. */
import { readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { expect, it } from "vitest";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import { readPng } from "../../qemu/testing/png.ts";
import { insideOf, SCRATCH_BYTES } from "../../system/enclosure.ts";
import type { MachineId } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { RealMachines, USER, until } from "../testing/real-machines.ts";
import { SERIAL_LOG_MAX_BYTES } from "./serial-log.ts";

const machines = new RealMachines();
const HELLO = "vireo: console\r\n";

const start = async (hypervisor: QemuHypervisor, video: "none" | "vga" = "none") => {
  const { id } = await machines.start(
    hypervisor,
    machines.machine("console", { hardware: hardwareOf({ video }) }),
  );
  await until(() => machines.serial("a", id).includes(HELLO) || undefined);
  return id;
};

/** What comes, as one growing text. */
function reading(viewer: Duplex): () => string {
  let text = "";
  viewer.on("data", (bytes: Buffer) => {
    text += bytes.toString("latin1");
  });
  return () => text;
}

function bytesOf(id: MachineId): number {
  const folder = machines.path("a", id, "serial");
  return readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

it("a serial port: nothing of it is missed from the guest's first byte on; several are at it at once", async () => {
  const hypervisor = machines.hypervisor("a");
  const id = await start(hypervisor);
  // SeaBIOS says nothing there: the guest's text is all, and whole.
  expect(machines.serial("a", id)).toBe(HELLO);
  const port = await hypervisor.consoles.serial(id);
  const [first, second] = [port.view(0), port.view(port.log.lastLines(1))];
  const [one, other] = [reading(first), reading(second)];
  first.write("ab");
  await until(() => other().endsWith("ab") || undefined);
  second.write("c");
  await until(() => one() === `${HELLO}abc` || undefined);
  expect(other()).toBe(`${HELLO}abc`);
  first.destroy();
  second.write("d");
  await until(() => other().endsWith("abcd") || undefined);
  await hypervisor.kill(id);
  // To its end, and then it ends.
  await until(() => second.readableEnded || undefined);
});

it("an agent that comes after another reads on, and says that it was not there", async () => {
  const hypervisor = machines.hypervisor("a");
  const id = await start(hypervisor);
  hypervisor.close();
  const next = machines.hypervisor("a");
  await next.list();
  const port = await next.consoles.serial(id);
  const viewer = port.view(0);
  const text = reading(viewer);
  viewer.write("xy");
  await until(() => /^vireo: console\r\n\r\n\[vireo: .* not recorded\]\r\nxy$/.test(text()) || undefined);
});

it("a guest that floods its serial port fills no disk, whether an agent is there or not", async () => {
  const hypervisor = machines.hypervisor("a");
  const id = await start(hypervisor);
  const port = await hypervisor.consoles.serial(id);
  // As if it had said a lot before: under TCG it would take minutes.
  port.log.append(Buffer.alloc(SERIAL_LOG_MAX_BYTES - 32 * 1024, "-"));
  const viewer = port.view(port.log.end);
  viewer.write("!");
  let most = 0;
  await until(() => {
    most = Math.max(most, bytesOf(id));
    return port.log.end > SERIAL_LOG_MAX_BYTES + 64 * 1024 || undefined;
  }, 60_000);
  // How full it was when its oldest quarter went is seen only now and then: on a busy machine a look comes late.
  expect(most).toBeGreaterThan((SERIAL_LOG_MAX_BYTES / 4) * 3);
  expect(most).toBeLessThanOrEqual(SERIAL_LOG_MAX_BYTES);
  const pid = { pid: (await hypervisor.get(id))?.pid };
  hypervisor.close();
  const folder = machines.path("a", id, ".");
  const all = () =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  const [before, ticks] = [all(), ticksOf(pid)];
  await until(() => ticksOf(pid) - ticks > 20 || undefined);
  expect(all()).toBe(before);
});

/** What a process has used of processors: proof that the guest goes on. */
const ticksOf = ({ pid }: { pid: number | undefined }) =>
  Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[11]);

it("a picture of its screen shows what the guest wrote; a machine without a display says so", async () => {
  const hypervisor = machines.hypervisor("a");
  const id = await start(hypervisor, "vga");
  const picture = readPng(await hypervisor.consoles.screenshot(id));
  expect(picture).toMatchObject({ width: 720, height: 400 });
  // Some letters, not a screen of one colour.
  expect(picture.lit).toBeGreaterThan(100);
  expect(picture.lit).toBeLessThan(20_000);
  const pid = (await hypervisor.get(id))?.pid ?? 0;
  const pictures = insideOf(pid, machines.path("a", id, "p"));
  expect(readdirSync(pictures)).toEqual([]);
  // A QEMU that was taken over fills no disk of its host there.
  const { bsize, blocks, files } = statfsSync(pictures);
  expect(bsize * blocks).toBe(SCRATCH_BYTES);
  expect(files).toBeLessThan(100);
  const { uid, mode } = statSync(pictures);
  expect([uid, mode & 0o777]).toEqual([USER.uid, 0o700]);
  expect(statSync(machines.path("a", id, "p")).uid).toBe(0);
  const plain = await machines.start(hypervisor, machines.machine("console"));
  await expect(hypervisor.consoles.screenshot(plain.id)).rejects.toThrow(/no display .*set that to vga/);
  await expect(hypervisor.consoles.display(plain.id)).rejects.toThrow(/no display/);
});
