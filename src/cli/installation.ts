/** What an installation is made of, as `vireo up` plans it once; and what of it cannot be asked to be otherwise while it is there. */
import { existsSync, writeFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { availableParallelism, hostname, networkInterfaces, totalmem } from "node:os";
import { join } from "node:path";
import type { Daemon } from "./daemons.ts";
import { gatewayOf, planDevelopmentNetwork } from "./devnet.ts";
import { oidcArguments, oidcOptions } from "./oidc.ts";
import { installationId, type StatePaths } from "./paths.ts";
import { type DevelopmentHost, developmentHosts } from "./profiles.ts";
import { LOOPBACK, type Settings, type UpRecord } from "./record.ts";
import { UserError } from "./user-error.ts";

const PORT = 6443;

/** A new record: names, ports and processes are fixed here, so that a replay uses the same. */
export async function planInstallation(paths: StatePaths, settings: Settings): Promise<UpRecord> {
  const { port: first = PORT, controlPlanes = 1 } = settings;
  const hosts: DevelopmentHost[] = settings.hosts
    ? developmentHosts(settings.hosts, { cpus: availableParallelism(), memoryBytes: totalmem() })
    : [];
  const network = hosts.length
    ? await planDevelopmentNetwork(
        installationId(paths),
        hosts.map((host) => host.name),
      )
    : undefined;
  const address = network ? gatewayOf(network) : (settings.address ?? LOOPBACK);
  const ports = Array.from({ length: controlPlanes }, (_, i) => first + i);
  const log = (name: string) => join(paths.logs, `${name}.log`);
  const agent = (name: string, more: string[], namespace?: string): Daemon => ({
    name: `agent ${name}`,
    args: [
      "agent",
      ...ports.flatMap((port) => ["--join", `https://${address}:${port}`]),
      "--name",
      name,
      "--state",
      paths.host(name),
      "--enrolment",
      join(paths.pki, "enrolment.json"),
      ...more,
    ],
    log: log(`agent-${name}`),
    ...(namespace ? { namespace, mount: { from: localOf(paths, name), at: paths.local } } : {}),
  });
  const profileOf = (name: string) => join(paths.state, `profile-${name}.json`);
  for (const host of hosts) writeFileSync(profileOf(host.name), JSON.stringify(host.profile, undefined, 2));
  return {
    port: first,
    ...(network ? { network } : { address }),
    controlPlanes: ports.map((port, i) => {
      const name = i === 0 ? "control-plane" : `control-plane-${i + 1}`;
      const store = settings.store ? ["--store", settings.store] : [];
      const follow = i === 0 ? [] : ["--follow"];
      const oidc = oidcArguments(settings.oidc ?? {});
      const listen = `${address}:${port}`;
      return {
        name,
        args: ["server", "--state", paths.state, "--listen", listen, ...store, ...follow, ...oidc],
        log: log(name),
      };
    }),
    agents: network
      ? network.hosts.map((host) =>
          agent(
            host.name,
            ["--address", host.address, "--profile", profileOf(host.name), "--vxlan-peer", address],
            host.namespace,
          ),
        )
      : [agent(hostname().split(".")[0]?.toLowerCase() || "localhost", ["--address", address])],
  };
}

/** What a development host sees in the place of the folder `local`. */
export const localOf = (paths: StatePaths, host: string) => join(paths.host(host), "local");

/**
 * @param existing what runs, or ran, of it
 * @param before what earlier `up`s were asked for
 * @param given what this one is asked for
 * @throws UserError that says what would have to be done first
 */
export function refuseOther(
  paths: StatePaths,
  { existing, before, given }: { existing: UpRecord | undefined; before: Settings; given: Settings },
): void {
  const settings = { ...before, ...given };
  if ((settings.controlPlanes ?? 1) > 1 && !settings.store)
    throw new UserError(
      "--control-planes: several control planes share a store: give it with --store etcd://HOST:PORT (SQLite is for one)",
    );
  if (given.address !== undefined) checkAddress(given.address);
  if (settings.address !== undefined && settings.hosts !== undefined)
    throw new UserError(
      "--address is for hosts of other machines, --hosts for hosts in network namespaces of this one: an installation has either",
    );
  if (existing) refuseOtherThan(existing, given);
  if (given.store !== undefined && given.store !== before.store && (before.store || existsSync(paths.store)))
    throw new UserError(
      `--store: this installation has its state in ${before.store ?? "SQLite, in its state folder"}; leave --store out, or name another folder with --state for another installation (docs/state.md says how to move it)`,
    );
  oidcOptions(settings.oidc ?? {});
}

/** It listens there, and agents are told it. @throws UserError */
function checkAddress(address: string): void {
  const own = Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map((one) => one.address));
  if (isIPv4(address) && own.includes(address)) return;
  const choice = own.filter((one) => isIPv4(one) && one !== LOOPBACK);
  throw new UserError(
    `--address ${address}: not an IPv4 address of this machine${choice.length > 0 ? `, which has ${choice.join(", ")}` : ""}`,
  );
}

/** @throws UserError */
function refuseOtherThan(existing: UpRecord, given: Settings): void {
  const { network, controlPlanes, port, address = LOOPBACK } = existing;
  const isOther = <T>(asked: T | undefined, is: T) => asked !== undefined && asked !== is;
  const refuse = (what: string, option: string, first: string) => {
    throw new UserError(`this installation ${what}; run \`${first}\` before changing ${option}`);
  };
  if (isOther(given.hosts, network?.hosts.length ?? 0))
    refuse(
      `has ${network ? `${network.hosts.length} development hosts` : "this machine as its host"}`,
      "--hosts",
      "vireo down",
    );
  if (isOther(given.controlPlanes, controlPlanes.length))
    refuse(
      `has ${controlPlanes.length === 1 ? "one control plane" : `${controlPlanes.length} control planes`}`,
      "--control-planes",
      "vireo down --keep",
    );
  if (isOther(given.port, port)) refuse(`listens on port ${port}`, "--port", "vireo down --keep");
  if (isOther(given.address, network ? gatewayOf(network) : address))
    refuse(`listens on ${address}`, "--address", "vireo down --keep");
  const other = oidcArguments(given.oidc ?? {}).find((word) => !controlPlanes[0]?.args.includes(word));
  if (other !== undefined) refuse(`was started without ${other}`, "--oidc options", "vireo down --keep");
}
