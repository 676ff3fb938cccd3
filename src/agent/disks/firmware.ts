/**
 * The UEFI firmware of machines, and each machine's own store of its variables. It is found by the descriptors that its packages bring (QEMU, docs/interop/firmware.json; Debian: ovmf,
 * qemu-efi-aarch64).
 */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { hardwareOf, lackingText, PREFIX } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { renameDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";
import { run } from "../../system/run.ts";
import type { MachineConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { writeBase } from "./bases.ts";
import { own } from "./volume-files.ts";
import { userOf } from "./volume-places.ts";

const FOLDER = "/usr/share/qemu/firmware";

const File = Type.Object({ filename: Type.String(), format: Type.String() });
const Descriptor = Type.Object({
  "interface-types": Type.Array(Type.String()),
  mapping: Type.Object({ device: Type.Literal("flash"), executable: File, "nvram-template": File }),
  targets: Type.Array(Type.Object({ architecture: Type.String(), machines: Type.Array(Type.String()) })),
  features: Type.Array(Type.String()),
});

interface Found {
  /** Raw, never written. */
  code: string;
  /** What a machine's store of variables is made from; raw. */
  variables: string;
}

/**
 * @param architecture QEMU's name
 * @param machineType the beginning of it: "pc-q35-"
 * @param secureBoot with Microsoft's keys enrolled; without it such firmware is not taken, as it needs SMM
 * @returns undefined when there is none
 */
export async function findFirmware(
  architecture: string,
  machineType: string,
  secureBoot: boolean,
  folder = FOLDER,
): Promise<Found | undefined> {
  const files = await readdir(folder).catch(() => []);
  // The order of their names is that of preference.
  for (const file of files.filter((name) => name.endsWith(".json")).sort()) {
    const found = await readDescriptor(join(folder, file));
    if (!found?.["interface-types"].includes("uefi")) continue;
    const { mapping, targets, features } = found;
    const fits = targets.some(
      (target) =>
        target.architecture === architecture && target.machines.some((glob) => glob.startsWith(machineType)),
    );
    const secure = features.includes("secure-boot") && features.includes("enrolled-keys");
    if (!fits || (secureBoot ? !secure : features.includes("secure-boot"))) continue;
    const { executable, "nvram-template": template } = mapping;
    if (executable.format !== "raw" || template.format !== "raw") continue;
    if (!((await exists(executable.filename)) && (await exists(template.filename)))) continue;
    return { code: executable.filename, variables: template.filename };
  }
  return undefined;
}

export type Firmware = NonNullable<MachineConfig["firmware"]>;

/**
 * @param path of the machine's store of variables, which is made when it is missing: unlike a disk, an empty one only boots by default
 * @param direct a kernel is booted without a boot loader
 * @throws PrepareError
 */
export async function firmwareOf({ spec }: Instance, path: string, direct: boolean): Promise<Firmware> {
  const { secureBoot, architecture, board } = hardwareOf(spec.hardware);
  const found = await findFirmware(architecture, PREFIX[board], secureBoot);
  if (!found)
    throw new PrepareError(
      `its host ${lackingText(architecture === "aarch64" ? "aarch64" : secureBoot ? "secureBoot" : "uefi")} there`,
    );
  // The firmware would start that kernel whoever signed it.
  if (secureBoot && direct)
    throw new PrepareError(
      `spec.hardware.secureBoot: the kernel of the image ${spec.image} is started without a boot loader, which Secure Boot does not check; use an image with a signed boot loader, or no Secure Boot`,
    );
  if (!(await exists(path))) {
    if (spec.incoming || basename(path) !== "vars.qcow2")
      throw new PrepareError(
        `${path}, the variables of its firmware, is not on this host; is its storage pool really shared?`,
      );
    await run("qemu-img", ["convert", "-q", "-f", "raw", "-O", "qcow2", found.variables, `${path}.new`]);
    const { uid, gid } = userOf(spec);
    await own(`${path}.new`, uid, gid, 0o600);
    await writeBase(path, undefined);
    await renameDurably(`${path}.new`, path);
  }
  return { code: found.code, variables: { path, format: "qcow2", readOnly: false }, secure: secureBoot };
}

/** @returns undefined also for one of another mapping, or that makes no sense: another one may do */
async function readDescriptor(path: string) {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return Value.Check(Descriptor, value) ? value : undefined;
  } catch {
    return undefined;
  }
}
