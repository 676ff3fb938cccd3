/** How a machine's memory and disks are sent to another host: what its migration says, else its policies. Pure. */
import type { Transfer } from "./kinds.ts";

/** Each field from the first that says it: the migration itself, then the policies in the order of their weight. */
export function transferOf(said: readonly (Transfer | undefined)[]): Transfer {
  return Object.assign({}, ...[...said].reverse());
}
