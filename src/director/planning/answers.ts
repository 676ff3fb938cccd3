/** What subresources.ts answers: as it is sent. */
import { isResource } from "../../client/answers.ts";
import { ApiError } from "../../resource/errors.ts";
import { isFields } from "../../resource/fields.ts";
import type { Explanation } from "./explain.ts";
import type { Plan } from "./kinds.ts";
import type { Placement } from "./place.ts";
import type { Kept, undoing } from "./undo.ts";

/** What GET answers; POST with `placement`. */
export interface Placed extends Explanation {
  kind: "Placement";
  apiVersion: string;
  placement?: Placement;
}

/** The server has made it: all but its outline follows from that. @throws ApiError InternalError for anything else */
export function placedFrom(answer: unknown): Placed {
  const isPlaced =
    isFields(answer) &&
    answer.kind === "Placement" &&
    Array.isArray(answer.policies) &&
    answer.policies.every(isFields) &&
    Array.isArray(answer.hosts) &&
    answer.hosts.every((host) => isFields(host) && typeof host.name === "string");
  if (!isPlaced) throw new ApiError("InternalError", "the server's answer is not a Placement");
  return answer as unknown as Placed;
}

/** What GET …/undo answers. */
export interface Undoing {
  kind: "PlanUndo";
  apiVersion: string;
  /** To be created; none: nothing can go back. */
  plan?: ReturnType<typeof undoing>;
  kept: Kept[];
}

/** What GET …/preview answers. */
export interface Previewed {
  kind: "PlanPreview";
  apiVersion: string;
  /** One for each level of automation that has moves. */
  plans: Plan[];
  /** Policies that do not hold as it is, with what breaks them; absent: an older server does not tell. */
  broken?: { namespace: string; policy: string; message: string }[];
  /** A plan that goes on: only what has to go is planned until it is over. */
  underWay?: string;
  /** Plans that go on whose moves that have not begun would not be made any more. */
  superseded?: string[];
  /** A plan that quiet hours hold: nothing else is planned for its machines until then. */
  held?: string;
}

/** @throws ApiError InternalError for anything else */
export function previewedFrom(answer: unknown): Previewed {
  const isPreview =
    isFields(answer) &&
    answer.kind === "PlanPreview" &&
    Array.isArray(answer.plans) &&
    answer.plans.every((plan) => isResource(plan) && isFields(plan.spec) && Array.isArray(plan.spec.moves));
  if (!isPreview) throw new ApiError("InternalError", "the server's answer is not a PlanPreview");
  return answer as unknown as Previewed;
}

/** What GET …/hosts/NAME/power answers; what was done before, and what is to be, the Host itself tells (status.power). */
export interface PowerTold {
  kind: "HostPower";
  apiVersion: string;
  host: string;
  /** Why it is on or off, or to be. */
  why: string;
  /** What its PowerPolicy expects of the time for which it would be away; absent: none has the say over it. */
  forecast?: string;
}

/** @throws ApiError InternalError for anything else */
export function powerToldFrom(answer: unknown): PowerTold {
  const isTold = isFields(answer) && answer.kind === "HostPower" && typeof answer.why === "string";
  if (!isTold) throw new ApiError("InternalError", "the server's answer is not a HostPower");
  return answer as unknown as PowerTold;
}

/** The server has made it: all but its outline follows from that. @throws ApiError InternalError for anything else */
export function undoingFrom(answer: unknown): Undoing {
  const isUndoing =
    isFields(answer) &&
    answer.kind === "PlanUndo" &&
    Array.isArray(answer.kept) &&
    (answer.plan === undefined ||
      (isResource(answer.plan) && isFields(answer.plan.spec) && Array.isArray(answer.plan.spec.moves)));
  if (!isUndoing) throw new ApiError("InternalError", "the server's answer is not a PlanUndo");
  return answer as unknown as Undoing;
}
