/** What an installation has made on its host, and whether anybody needs it still: leftovers.ts removes what nobody does. */
import type { Instance } from "../compute/kinds.ts";

/** What the API knows of. Of objects that are not of their kind's shape, that they are there. */
export interface Owners {
  instances: readonly Instance[];
  oddInstances: ReadonlySet<string>;
  networks: ReadonlySet<string>;
}

/** Something on this host that this installation made. */
export interface Trace {
  /** For people: "tap vrt0123456789". */
  what: string;
  isNeeded(by: Owners): boolean;
  /** Looks again, and removes it unless it has come into use. Once more is as good as once. */
  remove(): Promise<void>;
}
