/** How a plan stands, as a badge. */
import { Badge } from "../../ui/basics.tsx";
import { phaseOfPlan, toneOf } from "../data/derive.ts";
import type { Plan } from "../data/kinds.ts";

export function PlanBadge({ plan }: { plan: Plan }) {
  const phase = phaseOfPlan(plan);
  const [tone, isBusy] = toneOf(phase);
  return (
    <Badge tone={tone} busy={isBusy || phase === "Running"}>
      {phase}
    </Badge>
  );
}
