/** Rules of a Host's power that look at other objects. Pure: looked over in the turn of the write. */
import type { Host } from "../compute/hosts/kinds.ts";
import { Instance } from "../compute/kinds.ts";
import { type Cause, forbiddenField, invalidValue } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import { keyOf } from "../resource/object.ts";

const SHOWN = 3;

const ENDS = 2;
const POINTS = 11;

/** Figures of watts: the two ends, or a whole curve that does not fall. */
export function checkHostWatts({ spec }: Host): Cause[] {
  const { watts } = spec;
  if (!watts) return [];
  const why =
    watts.length !== ENDS && watts.length !== POINTS
      ? `needs ${ENDS} values (idle, full load) or ${POINTS} (idle, 10 … 100 %), has ${watts.length}`
      : watts.some((value, i) => value < (watts[i - 1] ?? 0))
        ? "a value is below the one before; a host takes no less when it does more"
        : undefined;
  return why ? [invalidValue("spec.watts", watts, why)] : [];
}

/**
 * A task that switches a host off begins only while no run there holds disks or may come to hold them: silence is no release. One that is not of its
 * kind's shape counts by what can be read of it.
 */
export function checkHostPower(host: Host, old: Host | undefined, lookup: Lookup): Cause[] {
  const [task, before] = [host.status?.power?.task, old?.status?.power?.task];
  if (!task || task.kind === "On" || (before && before.kind !== "On")) return [];
  const runs = lookup
    .list(Instance)
    .filter(
      ({ spec, status }: Partial<Instance>) =>
        spec?.host === host.metadata.name && status?.custody !== "Released",
    );
  if (runs.length === 0) return [];
  const more = runs.length > SHOWN ? ` and ${runs.length - SHOWN} more` : "";
  return [
    forbiddenField(
      "status.power.task",
      `machines are on it: ${runs.slice(0, SHOWN).map(keyOf).join(", ")}${more}`,
    ),
  ];
}
