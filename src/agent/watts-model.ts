/**
 * What a host is thought to take when nobody has said: the curve of the published server whose processor is the same, or the nearest of its family, by the number of
 * sockets. A model, and marked as one: power supplies, memory, disks and fans of the host are others. Pure.
 */
import { SPECPOWER } from "./specpower.ts";

export interface ModelledWatts {
  /** At idle and at 10 … 100 %. */
  curve: number[];
  /** Whose it is, for people. */
  like: string;
}

interface Published {
  key: string;
  sockets: number;
  watts: number[];
}

const TABLE: readonly Published[] = SPECPOWER.trim()
  .split("\n")
  .map((line) => {
    const [key = "", sockets = "1", ...watts] = line.split(" ");
    return { key, sockets: Number(sockets), watts: watts.map(Number) };
  });

/** "Intel(R) Xeon(R) CPU E5-2660 v2 @ 2.20GHz" -> "e5-2660v2" */
export function processorKey(model: string): string {
  return model
    .toLowerCase()
    .replace(/\(.*?\)|@.*|,.*/g, "")
    .replace(/\d+(\.\d+)?\s*ghz/g, "")
    .replace(/\b(intel|amd|xeon|cpu|processor|gold|silver|platinum|bronze|core|\d+-core)\b/g, "")
    .replace(/\s+/g, "");
}

/** Processors of one make and generation; undefined: it is none that is known to have such. */
function familyOf(key: string): string | undefined {
  const scalable = /^\d(\d)\d\d[a-z]*$/.exec(key);
  if (scalable) return `scalable ${scalable[1]}`;
  const epyc = /^epyc\d{3}(\d)[a-z]*$/.exec(key);
  if (epyc) return `epyc ${epyc[1]}`;
  const e = /^(e\d)-(\d)\d{3}[a-z]*?(v\d)?$/.exec(key);
  if (e) return `${e[1]} ${e[2]} ${e[3] ?? ""}`;
  const older = /^([a-z]+)(\d)\d{3}[a-z]*$/.exec(key);
  return older ? `${older[1]} ${older[2]}` : undefined;
}

const numberIn = (key: string) => Number(/\d{4}/.exec(key)?.[0] ?? 0);

/** Undefined: no published server is like it. */
export function modelWatts({
  model,
  sockets,
}: {
  model: string;
  sockets: number;
}): ModelledWatts | undefined {
  const key = processorKey(model);
  const family = familyOf(key);
  const found =
    TABLE.find((each) => each.key === key) ??
    TABLE.filter((each) => family !== undefined && familyOf(each.key) === family).sort(
      (a, b) => Math.abs(numberIn(a.key) - numberIn(key)) - Math.abs(numberIn(b.key) - numberIn(key)),
    )[0];
  if (!found) return undefined;
  const curve = found.watts.map((watts) => Math.round((watts * sockets) / found.sockets));
  const how = found.key === key ? "of its processor" : `of the nearest processor, ${found.key}`;
  const scaled = found.sockets === sockets ? "" : `, for ${sockets} instead of ${found.sockets} sockets`;
  return { curve, like: `SPECpower_ssj2008, a published server ${how}${scaled}` };
}
