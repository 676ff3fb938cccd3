/** What a machine's system disk was made from: kept beside it, in boot.json, because the image may be built anew, with another kernel. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import type { Instance } from "../../compute/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { writeDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";
import { PrepareError } from "../prepare-error.ts";

const FILE = "boot.json";

const Origin = Type.Object({
  file: Type.String(),
  boot: Type.Optional(
    Type.Object({ kernel: Type.String(), initrd: Type.String(), commandLine: Type.String() }),
  ),
});
export type Origin = Static<typeof Origin>;

/** As an image is now. */
export function originOf({ status = {} }: Image): Origin {
  const { file = "", boot } = status;
  return { file, ...(boot ? { boot } : {}) };
}

/** @throws PrepareError when it is not as we wrote it, or nothing is known of it */
export async function readOrigin(
  folder: string,
  image: Image | undefined,
  { spec }: Instance,
): Promise<Origin> {
  const path = join(folder, FILE);
  if (await exists(path)) {
    const origin = parsed(await readFile(path, "utf8"));
    if (!Value.Check(Origin, origin))
      throw new PrepareError(`${path} does not say what ${spec.vm} boots; it should be as Vireo wrote it`);
    return origin;
  }
  // Disks from before this was kept: the image as it is now is the best that is known.
  if (!image) throw new PrepareError(`spec.image: there is no Image ${spec.image}`);
  return originOf(image);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param folder of the machine */
export function writeOrigin(folder: string, origin: Origin): Promise<void> {
  return writeDurably(join(folder, FILE), JSON.stringify(origin));
}

/** A clone boots what its template does. No-op when that is not known of it. */
export async function copyOrigin(from: string, to: string): Promise<void> {
  if (!(await exists(join(from, FILE)))) return;
  await writeDurably(join(to, FILE), await readFile(join(from, FILE)));
}
