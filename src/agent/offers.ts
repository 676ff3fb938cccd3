/** What this host can give to guests that not every host has: by what is installed here. */
import { OFFER_NAMES, type Offer } from "../compute/hardware/kinds.ts";
import { succeeds } from "../system/run.ts";
import { findFirmware } from "./disks/firmware.ts";

const HAS: Record<Offer, () => Promise<boolean>> = {
  uefi: async () => (await findFirmware("x86_64", "pc-q35-", false)) !== undefined,
  secureBoot: async () => (await findFirmware("x86_64", "pc-q35-", true)) !== undefined,
  tpm: () => succeeds("swtpm", ["--version"]),
  aarch64: async () =>
    (await findFirmware("aarch64", "virt-", false)) !== undefined &&
    (await succeeds("qemu-system-aarch64", ["--version"])),
};

export async function readOffers(): Promise<Offer[]> {
  const has = await Promise.all(OFFER_NAMES.map((offer) => HAS[offer]()));
  return OFFER_NAMES.filter((_, index) => has[index]);
}
