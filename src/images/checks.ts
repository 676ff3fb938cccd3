/** Rules of this room's kinds that a schema cannot say. Pure: they see the object, the old one and a look-up of others. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Image } from "./kinds.ts";

export function checkImage(_object: Image, _old: Image | undefined, _lookup: Lookup): Cause[] {
  return [];
}
