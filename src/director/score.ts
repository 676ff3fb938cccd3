/** How good a host is for a machine, in words: a number from 0 to 1 for each part of its goal (goals.ts), and what each contributes. Pure. */
import type { Estate, HostView, MachineView } from "./estate.ts";
import { expressionOf } from "./expressions.ts";
import { addedWatts, goalOf, preferencesOf, preferred, WEIGHTS, wattsValue } from "./goals.ts";
import { indexOf } from "./index.ts";
import { policiesOf, usage } from "./rules.ts";
import { busyOf, roomOf } from "./use.ts";

export interface Score {
  total: number;
  /** What each part contributed, for explanations. */
  parts: { name: string; value: number; weight: number; detail: string }[];
}

export function score(estate: Estate, machine: MachineView, host: HostView): Score {
  const policies = policiesOf(estate, machine);
  const weights = WEIGHTS[goalOf(policies[0])];
  const used = usage(estate, host.name, machine.key);
  const room = Math.max(
    0,
    1 -
      Math.max(
        (used.cpus + machine.cpus) / host.cpus,
        (used.memoryBytes + machine.memoryBytes) / host.memoryBytes,
        (used.busy + busyOf(machine)) / roomOf(host),
      ),
  );
  const inUse = used.machines > 0;
  const added = addedWatts(machine, host, inUse);
  const index = indexOf(estate);
  const parts: Score["parts"] = [
    {
      name: "speed",
      value: host.mhz / index.fastestMhz,
      weight: weights.speed,
      detail: `${host.mhz} MHz`,
    },
    { name: "room", value: room, weight: weights.room, detail: `${Math.round(room * 100)} % free with it` },
    {
      name: "watts",
      value: wattsValue(added, inUse, index.seek(machine)?.dearestWatts ?? 1),
      weight: weights.watts,
      detail:
        added === undefined
          ? inUse
            ? "in use already; watts unknown"
            : "empty; watts unknown"
          : `${Math.round(added)} W more`,
    },
  ];
  for (const { rule, kept, weight } of preferred(preferencesOf(policies), host, machine))
    parts.push({
      name: "preferred",
      value: kept ? 1 : 0,
      weight,
      detail: `${expressionOf(rule).text}: ${kept ? "yes" : "no"}`,
    });
  const weighed = parts.filter((part) => part.weight > 0);
  return { total: weighed.reduce((total, part) => total + part.value * part.weight, 0), parts: weighed };
}
