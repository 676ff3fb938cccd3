/** What may be said of a disk task that did not succeed: that it failed, or only that it is not known yet. */
import { CommandError } from "../../system/run.ts";
import { HypervisorError, NoAnswerError } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { LayersError } from "./layer-records.ts";

/** It is not known how far it got, or it got too far to be told as failed: it is tried again, and finds that out. */
export class UndecidedError extends Error {}

/** What may be told as the end of a task. */
export const isTellable = (error: unknown): error is Error =>
  [HypervisorError, LayersError, PrepareError, CommandError].some((kind) => error instanceof kind) &&
  !(error instanceof NoAnswerError);

/** For whoever cannot go back any more: what would have been told as failed is tried again. */
export const undecided = (cause: unknown): never => {
  throw isTellable(cause) ? new UndecidedError(cause.message, { cause }) : cause;
};
