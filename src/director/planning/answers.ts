/** What subresources.ts answers: as it is sent. */
import type { Kept, undoing } from "../execution/undo.ts";
import type { Explanation } from "./explain.ts";
import type { Placement } from "./place.ts";

/** What GET answers; POST with `placement`. */
export interface Placed extends Explanation {
  kind: "Placement";
  apiVersion: string;
  /** Of hosts that are not among `hosts`: how many might have it, and how many are ruled out. */
  others?: { possible: number; ruledOut: number };
  placement?: Placement;
}

/** What GET …/undo answers. */
export interface Undoing {
  kind: "PlanUndo";
  apiVersion: string;
  /** To be created; none: nothing can go back. */
  plan?: ReturnType<typeof undoing>;
  kept: Kept[];
}
