/** What this host can give to guests that not every host has: by what is installed here. */
import { OFFER_NAMES, type Offer } from "../compute/hardware/kinds.ts";
import { findFirmware } from "./firmware.ts";

const HAS: Record<Offer, () => Promise<boolean>> = {
  uefi: async () => (await findFirmware("x86_64", "pc-q35-", false)) !== undefined,
  secureBoot: async () => (await findFirmware("x86_64", "pc-q35-", true)) !== undefined,
};

export async function readOffers(): Promise<Offer[]> {
  const has = await Promise.all(OFFER_NAMES.map((offer) => HAS[offer]()));
  return OFFER_NAMES.filter((_, index) => has[index]);
}
