/**
 * Distribution: what images are made of, and what a picker of packages asks.
 *
 *   GET …/distributions/NAME/packages   ?search=web server&section=httpd&limit=50&continue=…   packages, the likeliest first; ?sections=true: all sections, too
 *   GET …/distributions/NAME/closure    ?package=nginx&package=redis&mode=slim&profile=…       what is installed with these, what it weighs, what is in the way
 */
import { sendValue } from "../api/exchange.ts";
import { found } from "../api/not-found.ts";
import { type Call, integer } from "../api/resource-reads.ts";
import type { Subresource } from "../api/subresource.ts";
import type { Client } from "../client/client.ts";
import type { Logger } from "../reconcile/log.ts";
import { ApiError } from "../resource/errors.ts";
import { API_VERSION } from "../resource/kind.ts";
import { fullPackages } from "./full/full-root.ts";
import { Distribution } from "./kinds.ts";
import type { Taken } from "./packages/closure.ts";
import { PackageError } from "./packages/package-error.ts";
import { PackageIndex } from "./packages/package-index.ts";
import { checkMode } from "./recipe-rules.ts";
import { isRpm, MODES, PROFILES, withoutPicker } from "./releases/release.ts";
import { releaseOf } from "./releases/releases.ts";
import { basePackages } from "./slim/slim-root.ts";

const LIMIT = 50;
const MOST = 500;
const CHOSEN = 1000;

/** For ApiServerOptions.subresources. @param cache as Packages has it */
export function distributionSubresources(client: Client, cache: string, log: Logger): Subresource[] {
  const indexes = new Map<string, PackageIndex>();
  const indexOf = async (name: string) => {
    const { spec } = await found(client, Distribution, { name });
    const { release } = spec;
    if (isRpm(releaseOf(spec))) throw new ApiError("BadRequest", withoutPicker(name));
    const warn = (text: string) => log.warn("packages.stale", { release, why: text });
    const known = indexes.get(release) ?? new PackageIndex(cache, release, { warn });
    indexes.set(release, known);
    return { index: known, spec };
  };
  const get = (
    name: string,
    handle: (call: Call, index: PackageIndex, spec: Distribution["spec"]) => Promise<object>,
  ): Subresource => ({
    of: Distribution,
    name,
    methods: { GET: "get" },
    handle: async (call) => {
      const { index, spec } = await indexOf(call.name);
      const answer = handle(call, index, spec).catch((error: unknown) => {
        // No lists: the mirror cannot be reached, say.
        if (!(error instanceof PackageError)) throw error;
        throw new ApiError("ServiceUnavailable", error.message, {}, { cause: error });
      });
      await sendValue(call.exchange, 200, { apiVersion: API_VERSION, ...(await answer) });
    },
  });
  return [get("packages", packages), get("closure", closure)];
}

async function packages({ exchange }: Call, index: PackageIndex): Promise<object> {
  const { query } = exchange;
  const limit = Math.min(integer(exchange, "limit") ?? LIMIT, MOST);
  const offset = integer(exchange, "continue") ?? 0;
  const section = query.get("section");
  const { items, total } = await index.search(query.get("search") ?? "", {
    ...(section ? { section } : {}),
    limit,
    offset,
  });
  const next = offset + items.length;
  const more = total > next && items.length > 0;
  return {
    kind: "PackageList",
    metadata: more ? { continue: String(next), remainingItemCount: total - next } : {},
    items,
    ...(query.get("sections") === "true" ? { sections: (await index.about()).sections } : {}),
  };
}

/** A parameter that is one of a few words. @throws ApiError */
function word<T extends string>({ exchange }: Call, name: string, words: readonly T[], otherwise: T): T {
  const text = exchange.query.get(name) ?? otherwise;
  const found = words.find((each) => each === text);
  if (found !== undefined) return found;
  const all = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(words);
  throw new ApiError("BadRequest", `the parameter ${name} is ${all}, not ${JSON.stringify(text)}`);
}

async function closure(call: Call, index: PackageIndex, spec: Distribution["spec"]): Promise<object> {
  const mode = word(call, "mode", MODES, "slim");
  const profile = word(call, "profile", PROFILES, "minimal");
  const [refused] = checkMode({ ...spec, mode, profile, packages: [] });
  if (refused) throw new ApiError("BadRequest", `the parameter profile: ${refused.message}`);
  const chosen = [...new Set(call.exchange.query.getAll("package"))];
  if (chosen.length > CHOSEN)
    throw new ApiError("BadRequest", `the parameter package may be given ${CHOSEN} times at most`);
  const recipe = { ...spec, profile, packages: [] };
  const base = mode === "slim" ? basePackages(recipe) : fullPackages(recipe);
  const { packages, unknown, conflicts } = await index.closure([...base, ...chosen], mode);
  const isBase = ({ name, essential }: Taken) =>
    !chosen.includes(name) && (base.includes(name) || (mode === "full" && essential));
  const sum = (of: (each: Taken) => number) => packages.reduce((bytes, each) => bytes + of(each), 0);
  return {
    kind: "PackageClosure",
    packages: packages.map((each) => {
      const { name, version, section, description, downloadBytes, installedBytes, because } = each;
      return {
        ...{ name, version, section, description, downloadBytes, installedBytes },
        ...(because === undefined ? {} : { because }),
        ...(isBase(each) ? { base: true } : {}),
      };
    }),
    downloadBytes: sum(({ downloadBytes }) => downloadBytes),
    installedBytes: sum(({ installedBytes }) => installedBytes),
    unknown: await Promise.all(unknown.map(async (name) => ({ name, nearest: await index.nearest(name) }))),
    conflicts,
  };
}
