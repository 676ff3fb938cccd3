/** SIGTERM and SIGINT, as those who run until they come see them: daemons, and commands that wait. */
import { constants } from "node:os";
import { UserError } from "./user-error.ts";

const NAMES = ["SIGTERM", "SIGINT"] as const;

/** Nobody waits any more. The command ends with the exit code of the signal: what follows it after `&&` is for when it was done. */
export class Stopped extends UserError {
  readonly by: (typeof NAMES)[number];

  constructor(by: (typeof NAMES)[number], message = `stopped by ${by}`) {
    super(message);
    this.by = by;
  }

  get exitCode(): number {
    return 128 + constants.signals[this.by];
  }
}

/** As an AbortSignal, whose reason is Stopped; a second one ends the process at once. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of NAMES)
    process.on(name, () => {
      const stopped = new Stopped(name);
      if (controller.signal.aborted) process.exit(stopped.exitCode);
      controller.abort(stopped);
    });
  return controller.signal;
}

/** What to throw because the signal is aborted: that nobody waits any more, in these words, or else the reason it has. */
export const stoppedBy = ({ reason }: AbortSignal, message: string): unknown =>
  reason instanceof Stopped ? new Stopped(reason.by, message) : reason;
