/** `vireo simulate`: what policies would do with the load of a trace, on hosts of a file or of the estate as it is. Nothing is changed anywhere. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { HostView } from "../director/estate/estate.ts";
import { readEstate } from "../director/estate/read-estate.ts";
import { Policy } from "../director/kinds.ts";
import { cut } from "../director/simulate/csv.ts";
import { vireo } from "../director/simulate/director.ts";
import { readHosts } from "../director/simulate/hosts.ts";
import { picture } from "../director/simulate/picture.ts";
import { readTrace } from "../director/simulate/read.ts";
import { columnsOf, preamble, remarks } from "../director/simulate/report.ts";
import { simulate as run } from "../director/simulate/run.ts";
import { InputError, type Sizes } from "../director/simulate/trace.ts";
import { Site } from "../director/sites.ts";
import { PowerPolicy } from "../power/policies/kinds.ts";
import { openConnection } from "./connect.ts";
import { alternativeIn } from "./policy-file.ts";
import type { Place } from "./resources.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

export interface SimulateOptions extends Sizes {
  trace: string;
  /** Files with policies, or names of those on the server: each is tried by itself. */
  policies: readonly string[];
  /** Absent: the hosts of the estate as it is. */
  estate?: string;
  days: number;
  /** Where the picture is written. */
  out: string;
}

/** @param note progress, for people who wait @throws UserError */
export async function simulate(
  place: Place,
  options: SimulateOptions,
  print: (line: string) => void,
  note: (text: string) => void,
): Promise<void> {
  try {
    await simulated(place, options, print, note);
  } catch (cause) {
    throw cause instanceof InputError ? new UserError(cause.message, { cause }) : cause;
  }
}

async function simulated(
  place: Place,
  { trace: path, policies, estate: file, days, out, ...sizes }: SimulateOptions,
  print: (line: string) => void,
  note: (text: string) => void,
): Promise<void> {
  const tried = await Promise.all(policies.map((policy) => alternative(place, policy)));
  const hosts = file === undefined ? await liveHosts(place) : readHosts(read(file), file);
  const whole = readTrace(path, sizes);
  const trace = cut(whole, days);
  const outcomes = tried.map(({ name, ...alternative }) =>
    run({ hosts, trace, ...alternative }, vireo(name), (step) =>
      note(`${name}: ${Math.floor((step * 100) / trace.steps)} %`),
    ),
  );
  const size = { machines: trace.machines.length, steps: trace.steps, repeated: trace.steps > whole.steps };
  const byPolicy = tried.filter(({ powerPolicies }) => powerPolicies.length > 0).map(({ name }) => name);
  const words = preamble(size, hosts.length, byPolicy);
  for (const line of words) print(line);
  print("");
  const columns = columnsOf(outcomes);
  const rows = outcomes.map((outcome) => columns.map(({ of }) => of(outcome)));
  print(
    table(
      columns.map(({ head }) => head),
      rows,
    ),
  );
  for (const line of remarks(outcomes)) print(line);
  writeFileSync(out, picture(outcomes, words));
  print(`\npicture: ${out}`);
}

function read(file: string): string {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) throw new UserError(`${file}: no such file`);
  return readFileSync(file, "utf8");
}

async function liveHosts(place: Place): Promise<HostView[]> {
  const { client } = openConnection(place.paths, place.kubeconfig);
  const { hosts } = await readEstate(client);
  if (hosts.length === 0) throw new UserError("the estate has no host yet; --estate FILE names others");
  return hosts.map(({ closed: _, maintenance: __, cordoned: ___, ...host }) => ({ ...host, ready: true }));
}

/** A file, or the name of a policy on the server. The trace's machines are all in one namespace, and so are these. */
async function alternative(place: Place, policy: string): Promise<Alternative> {
  if (statSync(policy, { throwIfNoEntry: false })) {
    const { policies, ...rest } = await alternativeIn(policy);
    return { name: basename(policy).replace(/\.(ya?ml|json)$/, ""), policies: policies.map(here), ...rest };
  }
  if (/[./]/.test(policy)) throw new UserError(`${policy}: no such file`);
  const { client, namespace } = openConnection(place.paths, place.kubeconfig);
  const at = { name: policy, namespace: place.namespace ?? namespace };
  const [found, sites, powerPolicies] = await Promise.all([
    client.get(Policy, at),
    client.list(Site),
    client.list(PowerPolicy),
  ]);
  if (!found)
    throw new UserError(
      `${policy}: neither a file nor a policy on the server; vireo get policies -A lists those`,
    );
  return {
    name: policy,
    policies: [here(found)],
    sites: sites.items,
    powerPolicies: powerPolicies.items,
  };
}

interface Alternative {
  name: string;
  policies: Policy[];
  sites: Site[];
  powerPolicies: PowerPolicy[];
}

const here = (policy: Policy): Policy => ({
  ...policy,
  metadata: { ...policy.metadata, namespace: "default" },
});
