/**
 * The UEFI firmware on this host, found by the descriptors that its packages bring (QEMU, docs/interop/firmware.json; Debian: ovmf,
 * qemu-efi-aarch64).
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { exists } from "./volume-files.ts";

const FOLDER = "/usr/share/qemu/firmware";

const File = Type.Object({ filename: Type.String(), format: Type.String() });
const Descriptor = Type.Object({
  "interface-types": Type.Array(Type.String()),
  mapping: Type.Object({ device: Type.Literal("flash"), executable: File, "nvram-template": File }),
  targets: Type.Array(Type.Object({ architecture: Type.String(), machines: Type.Array(Type.String()) })),
  features: Type.Array(Type.String()),
});

export interface Firmware {
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
): Promise<Firmware | undefined> {
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

/** @returns undefined also for one of another mapping, or that makes no sense: another one may do */
async function readDescriptor(path: string) {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return Value.Check(Descriptor, value) ? value : undefined;
  } catch {
    return undefined;
  }
}
