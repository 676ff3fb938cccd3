/** Chooses a host for a machine, or says of every host why not. Deterministic: ties go to the first name. Pure. */
import type { Estate, HostView, MachineView } from "./estate.ts";
import { obstacle, policiesOf } from "./rules.ts";
import { frameOf, goalOf, type Score, score } from "./score.ts";

export interface Verdict {
  host: HostView;
  /** Why it may not be there. */
  obstacle?: string;
  /** How good it would be there; also for hosts that are ruled out, when asked for. */
  score?: Score;
}

/** Every host, the best first, those that are ruled out last. */
export function judge(estate: Estate, machine: MachineView): Verdict[] {
  const frame = frameOf(estate, machine);
  return estate.hosts
    .map((host): Verdict => {
      const why = obstacle(estate, machine, host);
      return why ? { host, obstacle: why } : { host, score: score(estate, machine, host, frame) };
    })
    .sort((a, b) => (b.score?.total ?? -1) - (a.score?.total ?? -1) || (a.host.name < b.host.name ? -1 : 1));
}

export type Placement =
  | { host: string; reason: string; policy?: string }
  | { host?: undefined; reason: string };

/** "policy web (energy): 20 W more, the best of 2 possible hosts" */
export function reasonFor(estate: Estate, machine: MachineView, best: Verdict, possible: number): string {
  const [policy] = policiesOf(estate, machine);
  const goal = goalOf(policy);
  const details = (best.score?.parts ?? [])
    .filter((part) => part.weight >= 0.1 || part.name === "preferred")
    .map((part) => part.detail);
  const who = policy ? `policy ${policy.metadata.name} (${goal})` : "no policy (balanced)";
  const rank = possible > 1 ? `, the best of ${possible} possible hosts` : ", the only possible host";
  return `${who}: ${details.join(", ")}${rank}`;
}

/** @param but a host that it is to leave */
export function place(estate: Estate, machine: MachineView, but?: string): Placement {
  const verdicts = judge(estate, machine).filter(({ host }) => host.name !== but);
  const possible = verdicts.filter((verdict) => verdict.score);
  const [best] = possible;
  if (!best) {
    if (verdicts.length === 0)
      return { reason: but === undefined ? "there is no host yet" : `there is no host but ${but}` };
    return { reason: verdicts.map(({ host, obstacle: why }) => `${host.name}: ${why}`).join("; ") };
  }
  const [policy] = policiesOf(estate, machine);
  return {
    host: best.host.name,
    reason: reasonFor(estate, machine, best, possible.length),
    ...(policy ? { policy: policy.metadata.name } : {}),
  };
}
