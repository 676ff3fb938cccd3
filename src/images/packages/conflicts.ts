/**
 * Why packages cannot be installed together, in words of the recipe. apt names the packages that are in each other's way, deep down; which two of the recipe's
 * are to blame is found by asking our own solver for fewer, a few times, and then apt whether it sees it so; where it does not, or there is none (repositories of the recipe), apt is asked
 * each time.
 */

/** What apt said of one package. */
interface Unmet {
  name: string;
  how: "Depends" | "Conflicts" | "Breaks";
  what: string;
}

/** Of lines such as " exim4 : Depends: exim4-base (>= 4.96) but it is not installable". Pure. */
export function unmetOf(said: string): Unmet[] {
  return [...said.matchAll(/^ (\S+) : (?:Pre)?(Depends|Conflicts|Breaks): (\S+)/gm)].map(
    ([, name = "", how = "", what = ""]) => ({
      name: withoutArchitecture(name),
      how: how === "Conflicts" || how === "Breaks" ? how : "Depends",
      what: withoutArchitecture(what),
    }),
  );
}

const withoutArchitecture = (name: string) => name.replace(/:[a-z0-9]+$/, "");

export interface Asking {
  /** The recipe's packages, in its order. */
  named: readonly string[];
  /** What Vireo adds by itself; can be installed together. */
  base: readonly string[];
  /** What apt says against these; undefined when they can be installed together. It takes a second. */
  against: (names: readonly string[]) => Promise<string | undefined>;
  /** The same by our own solver (closure.ts), in milliseconds: where apt does not agree with what it finds, apt is asked for all. */
  guess?: (names: readonly string[]) => Promise<boolean>;
  /** All that come with that one alone. */
  brings: (name: string) => Promise<ReadonlySet<string>>;
}

type Fails = (names: readonly string[]) => Promise<boolean>;

/** @returns "a (recipe.packages[0]) needs b, which conflicts with c (recipe.packages[2])", or what else is known */
export async function explainConflict(asking: Asking): Promise<string | undefined> {
  const { guess, against } = asking;
  for (const fails of [guess, async (names: readonly string[]) => (await against(names)) !== undefined]) {
    const found = fails && (await blamed(asking, fails));
    if (!found) continue;
    const { one, other, before } = found;
    const said = await against(other === undefined ? [one] : [other, one]);
    if (said !== undefined) return sentence(asking, said, one, other);
    if (fails === guess) continue;
    const all = await against([...before, one]);
    return all === undefined ? undefined : sentence(asking, all, one, undefined);
  }
  return undefined;
}

/** The first that cannot join those before it, and the first of those that it cannot be with; none when it cannot be at all. */
async function blamed({ named, base }: Asking, fails: Fails) {
  const last = await firstFailing(named.length, (count) => fails([...base, ...named.slice(0, count)]));
  if (last === undefined) return undefined;
  const one = named[last - 1] ?? "";
  const before = [...base, ...named.slice(0, last - 1)];
  if (await fails([one])) return { one, before };
  const with_ = await firstFailing(before.length, (count) => fails([...before.slice(0, count), one]));
  const other = with_ === undefined ? undefined : before[with_ - 1];
  return { one, before, ...(other === undefined ? {} : { other }) };
}

/** The least count that fails, when more than that fail, too. */
async function firstFailing(
  most: number,
  fails: (count: number) => Promise<boolean>,
): Promise<number | undefined> {
  let [low, high] = [1, most];
  if (most === 0 || !(await fails(most))) return undefined;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (!(await fails(middle))) low = middle + 1;
    else high = middle;
  }
  return high;
}

async function sentence(
  { named, brings }: Asking,
  said: string,
  one: string,
  other: string | undefined,
): Promise<string | undefined> {
  const shown = (name: string) =>
    named.includes(name) ? `${name} (recipe.packages[${named.indexOf(name)}])` : `${name} (which Vireo adds)`;
  const unmet = unmetOf(said);
  const sides = [one, ...(other === undefined ? [] : [other])];
  const brought = await Promise.all(sides.map(brings));
  /** Which of the two it comes with. */
  const sideOf = (name: string) => {
    const own = sides.indexOf(name);
    return own >= 0 ? own : brought.findIndex((all) => all.has(name));
  };
  const clash = unmet.find(({ how }) => how !== "Depends");
  if (clash && other !== undefined) {
    const { name, how, what } = clash;
    const at = sideOf(name);
    const [from = one, to = other] = at === 1 ? [other, one] : [one, other];
    const verb = how === "Breaks" ? "breaks" : "conflicts with";
    const who = name === from || at < 0 ? shown(from) : `${shown(from)} needs ${name}, which`;
    if (what === to) return `${who} ${verb} ${shown(to)}`;
    const there = brought[sides.indexOf(to)]?.has(what);
    return `${who} ${verb} ${what}, which ${shown(to)} ${there ? "needs" : "provides"}`;
  }
  const need = unmet.find(({ how }) => how === "Depends");
  if (!need) return undefined;
  const at = sideOf(need.name);
  const from = sides[at] ?? one;
  const who = need.name === from ? shown(from) : `${shown(from)} needs ${need.name}, which`;
  return other === undefined
    ? `${who} needs ${need.what}, which is not to be had`
    : `${who} needs ${need.what}, which cannot be there together with ${shown(from === one ? other : one)}`;
}
