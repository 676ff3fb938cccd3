/**
 * Whether a wake test of a host may begin now: it is away for as long as it takes to boot, so what PowerPolicies ask before they switch one off is asked before a test, too (round.ts), and its
 * window of time. Of one with machines, whether they can all go elsewhere (emptying.ts).
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import { isEmptied, SHUTDOWN_SECONDS } from "../../power/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { describeWindow } from "../estate/policy-words.ts";
import { inPieces } from "../estate/read-estate.ts";
import { NO_TARIFFS, type Tariffs } from "../estate/tariffs.ts";
import { holds } from "../estate/windows.ts";
import { demandsOf, inWords, unguarded } from "../failover/failover.ts";
import { Survival } from "../failover/survival.ts";
import { holdForUsers } from "../planning/undo.ts";
import { wakeMs } from "./demand.ts";
import { cannotTake, moveAllOff, refusesToGo } from "./emptying.ts";
import { type PowerInput, unsureOf } from "./input.ts";
import { bootSecondsOf } from "./power.ts";
import { forecastOf, type PowerContext, readPower } from "./power-reconciler.ts";
import { Room } from "./room.ts";
import { policyFor, spareDemand } from "./standing.ts";

/** So long one host after the other is refused by what was read once. */
const FRESH_MS = 60_000;

/** Why none may begin of hosts of one estate, one after the other. Pure. */
export class Untested {
  private readonly input: PowerInput;
  private readonly survival: Survival;
  private readonly room: Room;

  constructor(of: PowerInput) {
    const input = { ...of, estate: asBefore(of.estate) };
    const { estate, hosts, policies } = input;
    this.input = input;
    this.room = new Room(input.ahead);
    const views = new Map(estate.hosts.map((view) => [view.name, view]));
    const acting = policies.filter(isActing);
    const byPolicy = Map.groupBy(hosts, (host) => policyFor(policies, host));
    const spare = acting.flatMap((policy) => {
      const own = (byPolicy.get(policy) ?? []).flatMap(({ metadata }) => views.get(metadata.name) ?? []);
      for (const view of own)
        if (view.closed === undefined) this.room.count({ policy, view, state: "on" }, 1);
      return spareDemand(indexOf(estate), policy, own) ?? [];
    });
    this.survival = new Survival(estate, [...demandsOf(estate), ...spare]);
  }

  /** To be gone through before anything is asked; between two pieces of it others may have their turn. */
  prove(): Generator<void> {
    return this.survival.catchUp();
  }

  /** Undefined: it may, or its machines may be moved elsewhere for that; then it takes none from here on. Of a host that is being emptied, who is still there does not matter. */
  why(host: Host): string | undefined {
    const { estate, expected, now, policies, waiting } = this.input;
    const { name } = host.metadata;
    const { shutdownSeconds = SHUTDOWN_SECONDS } = host.spec.powerManagement ?? {};
    const early = notNow(host, now, estate.sites ?? NO_TARIFFS);
    if (early) return early;
    const index = indexOf(estate);
    const view = index.hosts.get(name);
    if (!view) return "for the director to see the host";
    const isComing = estate.machines.some((machine) => machine.movingTo === name && machine.host !== name);
    if (isComing || expected.has(name)) return "until no machine comes there any more";
    const needs = cannotTake(estate, view, waiting);
    if (needs) return needs;
    if (estate.odd.some(({ object }) => object.startsWith("Instance/")))
      return "until all Instances can be read";
    const policy = policyFor(policies, host);
    const unsure = unsureOf(this.input, policy);
    if (unsure) return `because ${unsure}`;
    const lack =
      policy &&
      isActing(policy) &&
      this.room.lackOf(policy, wakeMs(bootSecondsOf(host, policy)) + shutdownSeconds * 1000, view);
    if (lack) return `because without it ${lack}`;
    const [already] = this.survival.faults();
    if (already) return `because ${inWords(estate, already, "is")}`;
    // Wherever its machines went, nothing would tell that a loss is not survived any more.
    const unknown = index.use(name).machines > 0 && unguarded(this.survival);
    if (unknown) return `because ${unknown}`;
    const away = moveAllOff(estate, view, now);
    // Who cannot go just now may, soon.
    if ("why" in away)
      return isEmptied(host)
        ? index
            .machinesOn(name)
            .map((at) => refusesToGo(index.machines[at] as MachineView))
            .find(Boolean)
        : away.why;
    const fault = this.survival.worse() ?? this.survival.close(index.hostNumber(name));
    if (!fault) return undefined;
    away.takeBack();
    return `because without it ${inWords(estate, fault)}`;
  }
}

/** One that is being emptied is judged as if that had not begun. */
function asBefore(estate: Estate): Estate {
  if (!estate.hosts.some(({ emptied }) => emptied)) return estate;
  return {
    ...estate,
    hosts: estate.hosts.map((host) => {
      const { emptied, closed: _, ...open } = host;
      return emptied ? open : host;
    }),
  };
}

const isActing = ({ spec }: PowerPolicy) => spec.automation !== "off";

/** By its window. @param sites what power costs and emits now; absent: not asked */
function notNow({ spec }: Host, now: number, sites?: Tariffs): string | undefined {
  const { during } = spec.powerManagement?.wakeTest ?? {};
  if (!during) return undefined;
  const { price: _, carbon: __, ...hours } = during;
  return holds(sites ? during : hours, now, sites ?? NO_TARIFFS)
    ? undefined
    : `for ${describeWindow(during)}`;
}

/** The same of the estate as it is: read anew, but not to refuse each of many hosts. */
export function wakeTestsOf(
  context: Omit<PowerContext, "signal">,
): (host: Host) => Promise<string | undefined> {
  let known: { at: number; untested: Promise<Untested> } | undefined;
  const read = (at: number) => {
    const untested = readPower(context).then(async ({ plans, ...input }) => {
      const made = new Untested({
        ...input,
        // As the planner sees it, who is to move them.
        estate: holdForUsers(input.estate, plans, { now: input.now, released: new Set() }),
        ahead: forecastOf(input.policies, input.now),
      });
      await inPieces(made.prove());
      return made;
    });
    known = { at, untested };
    return untested;
  };
  return async (host) => {
    const at = context.clock.now().getTime();
    // Nothing is read for that.
    const early = notNow(host, at);
    if (early) return early;
    try {
      const lately = known && at - known.at < FRESH_MS ? (await known.untested).why(host) : undefined;
      if (lately) return lately;
      const why = (await read(at)).why(host);
      // One that goes is away from then on.
      if (why === undefined) known = undefined;
      return why;
    } catch (error) {
      known = undefined;
      throw error;
    }
  };
}
