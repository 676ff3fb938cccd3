/**
 * Why packages cannot be installed together, in words of the recipe. apt names the packages that are in each other's way, deep down; which two of the recipe's
 * are to blame is found by asking it again, a few times, for fewer.
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
  /** What apt says against these; undefined when they can be installed together. */
  against: (names: readonly string[]) => Promise<string | undefined>;
  /** All that come with that one alone. */
  brings: (name: string) => Promise<ReadonlySet<string>>;
}

/** @returns "a (recipe.packages[0]) needs b, which conflicts with c (recipe.packages[2])", or what else is known */
export async function explainConflict(asking: Asking): Promise<string | undefined> {
  const { named, base, against } = asking;
  // The first that cannot join those before it …
  const last = await firstFailing(named.length, (count) => against([...base, ...named.slice(0, count)]));
  if (last === undefined) return undefined;
  const one = named[last - 1] ?? "";
  const alone = await against([one]);
  if (alone !== undefined) return sentence(asking, alone, one, undefined);
  // … and the first of those that it cannot be with.
  const before = [...base, ...named.slice(0, last - 1)];
  const with_ = await firstFailing(before.length, (count) => against([...before.slice(0, count), one]));
  const other = with_ === undefined ? undefined : before[with_ - 1];
  const said = other === undefined ? undefined : await against([other, one]);
  if (other !== undefined && said !== undefined) return sentence(asking, said, one, other);
  const all = await against([...before, one]);
  return all === undefined ? undefined : sentence(asking, all, one, undefined);
}

/** The least count that fails, when more than that fail, too. */
async function firstFailing(
  most: number,
  fails: (count: number) => Promise<string | undefined>,
): Promise<number | undefined> {
  let [low, high] = [1, most];
  if (most === 0 || (await fails(most)) === undefined) return undefined;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((await fails(middle)) === undefined) low = middle + 1;
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
