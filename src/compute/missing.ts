/** What has to be there before a machine can start. Pure. */
import type { Image } from "../images/kinds.ts";
import { imageAt, imageOf, lackingTag, parseReference } from "../images/versions/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { imagesOf } from "./disks/checks.ts";
import type { VirtualMachine } from "./kinds.ts";
import { type Idle, pending } from "./vm-status.ts";

/** What is there, as far as we see. */
export interface There {
  image(name: string): Image | undefined;
  hasNetwork(name: string): boolean;
  hasPool(name: string): boolean;
}

/** What has to be there before the machine can start, if anything is not. */
export function missingOf({ spec, status }: VirtualMachine, there: There): Idle | undefined {
  for (const name of imagesOf(spec)) {
    const isInDrive = spec.cdDrives?.some(({ image }) => image === name);
    const hasDisks =
      !isInDrive && ((status?.sequence ?? 0) > 0 || Boolean(spec.source?.vm || spec.source?.snapshot));
    const field = name === spec.image ? "spec.image" : isInDrive ? "spec.cdDrives" : "spec.disks";
    const missing = missingImage(there.image(imageOf(name)), name, field, hasDisks);
    if (missing) return missing;
  }
  if (!there.hasPool(spec.storagePool))
    return pending(
      "StoragePoolMissing",
      `storage pool ${spec.storagePool} (spec.storagePool) does not exist`,
    );
  const network = spec.networks.find((name) => !there.hasNetwork(name));
  if (network) return pending("NetworkMissing", `network ${network} (spec.networks) does not exist`);
  return undefined;
}

function missingImage(
  found: Image | undefined,
  name: string,
  field: string,
  hasDisks: boolean,
): Idle | undefined {
  const image = imageAt(found, name);
  if (!found || !image)
    return pending("ImageMissing", `image ${name} (${field}) does not exist; create it, or wait for it`);
  // A machine that has run before only needs the file its overlay is linked to.
  if (image.status?.phase === "Ready" || (hasDisks && found.status?.file)) return undefined;
  const { tag } = parseReference(name);
  if (tag !== undefined)
    return pending("ImageNotReady", `image ${imageOf(name)} (${field}) ${lackingTag(found, tag)}`);
  const phase = image.status?.phase ?? "Pending";
  // How far its build is stands in the image alone: each step would be a write to each machine that waits.
  const why = phase === "Failed" && getCondition(image.status?.conditions, "Ready")?.message;
  return pending("ImageNotReady", `image ${name} is not ready: ${phase}${why ? `, ${why}` : ""}`);
}
