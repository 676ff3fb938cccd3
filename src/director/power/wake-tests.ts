/**
 * Whether a wake test of an empty host may begin now: it is away for as long as it takes to boot, so what PowerPolicies ask before they switch one off is asked before a test, too (round.ts), and its
 * window of time.
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import { SHUTDOWN_SECONDS } from "../../power/kinds.ts";
import { indexOf } from "../estate/estate-index.ts";
import { NO_TARIFFS } from "../estate/tariffs.ts";
import { demandsOf, inWords } from "../failover/failover.ts";
import { Survival } from "../failover/survival.ts";
import { describeWindow } from "../planning/policy-words.ts";
import { holds } from "../planning/windows.ts";
import { wakeMs } from "./demand.ts";
import { bootSecondsOf } from "./power.ts";
import { forecastOf, type PowerContext, readPower } from "./power-reconciler.ts";
import { Room } from "./room.ts";
import type { PowerInput } from "./round.ts";
import { policyFor, spareDemand } from "./standing.ts";

/** So long what was read is looked at for one host after the other. */
const FRESH_MS = 60_000;

/** Why none may begin of hosts of one estate, one after the other. Pure. */
export class Untested {
  private readonly input: PowerInput;
  private readonly survival: Survival;
  private readonly room: Room;

  constructor(input: PowerInput) {
    const { estate, hosts, policies } = input;
    this.input = input;
    this.room = new Room(input.ahead);
    const views = new Map(estate.hosts.map((view) => [view.name, view]));
    const acting = policies.filter(({ spec }) => spec.automation !== "off");
    const byPolicy = Map.groupBy(hosts, (host) => policyFor(policies, host));
    const spare = acting.flatMap((policy) => {
      const own = (byPolicy.get(policy) ?? []).flatMap(({ metadata }) => views.get(metadata.name) ?? []);
      for (const view of own)
        if (view.closed === undefined) this.room.count({ policy, view, state: "on" }, 1);
      return spareDemand(indexOf(estate), policy, own) ?? [];
    });
    this.survival = new Survival(estate, [...demandsOf(estate), ...spare]);
  }

  /** Undefined: it may; then it takes no machines from here on. */
  why(host: Host): string | undefined {
    const { estate, expected, now, policies } = this.input;
    const { name } = host.metadata;
    const { wakeTest, shutdownSeconds = SHUTDOWN_SECONDS } = host.spec.powerManagement ?? {};
    const { during } = wakeTest ?? {};
    if (during && !holds(during, now, estate.sites ?? NO_TARIFFS)) return `for ${describeWindow(during)}`;
    const index = indexOf(estate);
    const view = index.hosts.get(name);
    if (!view) return "for the director to see the host";
    const { machines } = index.use(name);
    if (machines > 0 || expected.has(name)) return "until no machine is on it or comes there";
    if (estate.odd.some(({ object }) => object.startsWith("Instance/")))
      return "until all Instances can be read";
    const policy = policyFor(policies, host);
    const lack =
      policy && this.room.lackOf(policy, wakeMs(bootSecondsOf(host, policy)) + shutdownSeconds * 1000, view);
    if (lack) return `because without it ${lack}`;
    const fault = this.survival.close(index.hostNumber(name));
    return fault && `because without it ${inWords(estate, fault)}`;
  }
}

/** The same of the estate as it is: read anew, but not for each of many hosts. */
export function wakeTestsOf(
  context: Omit<PowerContext, "signal">,
): (host: Host) => Promise<string | undefined> {
  let known: { at: number; untested: Promise<Untested> } | undefined;
  return async (host) => {
    const at = context.clock.now().getTime();
    if (!known || at - known.at >= FRESH_MS)
      known = {
        at,
        untested: readPower(context).then(
          (input) => new Untested({ ...input, ahead: forecastOf(input.policies, input.now) }),
        ),
      };
    try {
      const why = (await known.untested).why(host);
      // One that goes is away from then on.
      if (why === undefined) known = undefined;
      return why;
    } catch (error) {
      known = undefined;
      throw error;
    }
  };
}
