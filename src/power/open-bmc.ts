/** The way to a host's BMC by what its spec says. */
import type { Resource } from "../resource/object.ts";
import { type Bmc, BmcError, credentialsOf } from "./bmc.ts";
import { openIpmi } from "./ipmi.ts";
import type { Bmc as BmcSpec } from "./kinds.ts";
import { openRedfish } from "./redfish.ts";
import { openWakeOnLan } from "./wake-on-lan.ts";

/** @param secretOf reads a Secret; it is called now, and nothing of it is kept. @throws BmcError */
export async function openBmc(
  spec: BmcSpec,
  secretOf: (at: { namespace: string; name: string }) => Promise<Resource | undefined>,
): Promise<Bmc> {
  const { ipmi, redfish, wakeOnLan, credentials } = spec;
  if (wakeOnLan) return openWakeOnLan(wakeOnLan);
  if (!credentials) throw new BmcError("spec.bmc.credentials is missing");
  const login = credentialsOf(credentials, await secretOf(credentials));
  if (ipmi) return openIpmi(ipmi, login);
  if (redfish) return openRedfish(redfish, login);
  throw new BmcError("spec.bmc does not say how the BMC is reached");
}
