/** `vireo cordon`, `drain`, `uncordon`: what a host is to do is written into its spec, and the director does it. */
import { Host } from "../compute/hosts/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { getCondition } from "../resource/object.ts";
import { follow, type Standing } from "./operation.ts";
import { openSession, type Place } from "./resources.ts";
import { UserError } from "./user-error.ts";

type HostOptions = Place & { host: string };
type Print = (line: string) => void;

/** @throws UserError when there is no such host */
async function patch(options: HostOptions, spec: { unschedulable?: true | null; maintenance?: true | null }) {
  const { client } = await openSession(options);
  const name = options.host.replace(/^hosts?\//, "");
  try {
    return { client, host: await client.patch(Host, { name }, { spec }) };
  } catch (error) {
    if (isApiError(error, "NotFound"))
      throw new UserError(`there is no host ${JSON.stringify(name)}; vireo get hosts lists them`);
    throw error;
  }
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
