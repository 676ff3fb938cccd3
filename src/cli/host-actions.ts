/** `vireo cordon`, `drain`, `uncordon`: what a host is to do is written into its spec, and the director does it. */
import type { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { missing } from "./missing.ts";
import { follow, type Standing } from "./operation.ts";
import { openSession, type Place, parseName, readNamed } from "./resources.ts";

export interface HostOptions extends Place {
  /** "host/a", or "a". */
  host: string;
}
type Print = (line: string) => void;

/** @throws UserError when there is no such host */
export async function hostOf({ host, ...place }: HostOptions): Promise<{ client: HttpClient; host: Host }> {
  const session = await openSession(place);
  const { client } = session;
  const named = parseName(session.kinds, "host", host);
  const found = await client.get(Host, { name: named.name });
  if (found) return { client, host: found };
  await readNamed(session, named);
  throw missing("host", named.name);
}

async function patch(options: HostOptions, spec: { unschedulable?: true | null; maintenance?: true | null }) {
  const { client, host } = await hostOf(options);
  return { client, host: await client.patch(Host, { name: host.metadata.name }, { spec }) };
}

export async function cordon(options: HostOptions, print: Print): Promise<void> {
  const { host } = await patch(options, { unschedulable: true });
  print(`host/${host.metadata.name} takes no new machines; vireo uncordon ${host.metadata.name} ends that`);
}

export async function uncordon(options: HostOptions, print: Print): Promise<void> {
  const { host } = await patch(options, { unschedulable: null, maintenance: null });
  print(`host/${host.metadata.name} takes machines again`);
}

/** Who stops waiting stops nothing else. @throws UserError when the time is over, with what is left */
export async function drain(
  options: HostOptions & { timeoutMs: number; signal: AbortSignal },
  print: Print,
): Promise<void> {
  const { client, host } = await patch(options, { maintenance: true });
  const standing = ({ metadata, spec, status }: Host): Standing => {
    if (!spec.maintenance) return { line: "somebody ended the maintenance", over: "failed" };
    const evacuated = getCondition(status?.conditions, "Evacuated");
    if (!evacuated || (evacuated.observedGeneration ?? 0) < (metadata.generation ?? 0))
      return { line: "the director has not looked at it yet" };
    if (evacuated.status === "True") return { line: "is empty", over: "done" };
    return { line: evacuated.message };
  };
  await follow(client, Host, host.metadata, { ...options, standing }, print);
}
