/** How good a host is for a machine, in words: a number from 0 to 1 for each part of its goal (goals.ts), and what each contributes. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import {
  addedWatts,
  clockWords,
  dearness,
  describeWatts,
  powerName,
  powerWeight,
  preferencesOf,
  preferred,
  speedValue,
  unlicensedValue,
  wattsValue,
} from "../estate/goals.ts";
import { NO_TARIFFS } from "../estate/tariffs.ts";
import { levelOf, shareAt } from "../estate/watts.ts";
import { expressionOf } from "../rules/expressions.ts";
import { policiesOf, usage } from "../rules/rules.ts";

export interface Score {
  total: number;
  /** What each part contributed, for explanations. */
  parts: {
    name: string;
    value: number;
    weight: number;
    detail: string;
    /** By which policy it counts; absent: the machine has none. */
    policy?: string;
    /** Which one it is, of rules that are preferred. */
    rule?: string;
  }[];
}

export function score(estate: Estate, machine: MachineView, host: HostView): Score {
  const policies = policiesOf(estate, machine);
  const index = indexOf(estate);
  const { weights } = index.aimOf(policies[0]);
  const used = usage(estate, host.name, machine.key);
  const room = index.roomWith(machine, host.name);
  const inUse = used.machines > 0;
  const others = inUse ? index.shareOf(host.name, machine.key) : undefined;
  const added = addedWatts(machine, host, others);
  const { sites = NO_TARIFFS } = estate;
  // To a level, as likings have it.
  const judged = addedWatts(machine, host, others === undefined ? undefined : shareAt(levelOf(others)));
  const dear = judged === undefined ? undefined : judged * dearness(weights, sites, host.site);
  const licensed = weights.licences > 0 ? index.licensed(policies[0], machine, host) : 0;
  const goals: Score["parts"] = [
    {
      name: "speed",
      value: speedValue(host.mhz, index.clocks),
      weight: weights.speed,
      detail: clockWords(host.mhz, index.clocks),
    },
    { name: "room", value: room, weight: weights.room, detail: `${Math.round(room * 100)} % free with it` },
    {
      name: "packed",
      value: 1 - room,
      weight: weights.packed,
      detail: `${Math.round((1 - room) * 100)} % taken with it`,
    },
    {
      name: "used",
      value: inUse ? 1 : 0,
      weight: weights.used,
      detail: inUse ? "in use already" : "empty",
    },
    {
      name: powerName(weights),
      value: wattsValue(dear, inUse, index.likings.seek(machine)?.dearestWatts ?? 1),
      weight: powerWeight(weights),
      detail: describeWatts(added, inUse, weights, sites.get(host.site)),
    },
    {
      name: "licences",
      value: licensed > 0 ? 1 : unlicensedValue(host.sockets, index.mostSockets),
      weight: weights.licences,
      detail: licensed > 0 ? "licensed already" : `${host.sockets ?? "?"} sockets to license`,
    },
  ];
  const [first] = policies;
  const owner = first ? { policy: first.metadata.name } : {};
  const { policies: asked } = index.sight.asked(policies);
  const owners = asked.flatMap(({ metadata, spec }) => (spec.preferred ?? []).map(() => metadata.name));
  const likings = preferred(preferencesOf(asked), host, machine).map(({ rule, kept, weight }, i) => {
    const { text } = expressionOf(rule);
    return {
      name: "preferred",
      value: kept ? 1 : 0,
      weight,
      detail: `${text}: ${kept ? "yes" : "no"}`,
      policy: owners[i] ?? "",
      rule: text,
    };
  });
  const weighed = [...goals.map((part) => ({ ...part, ...owner })), ...likings].filter(
    (part) => part.weight > 0,
  );
  return { total: weighed.reduce((total, part) => total + part.value * part.weight, 0), parts: weighed };
}
