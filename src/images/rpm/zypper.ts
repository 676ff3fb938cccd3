/** zypper, for openSUSE. */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DroppedError, PackageError } from "../packages/package-error.ts";
import { runRpm, runTool } from "./run-tool.ts";
import { type Installation, type Nevra, nevra, type RpmTool, type RpmToolOptions } from "./tools.ts";

const LISTS_MS = 600_000;
const DOWNLOAD_MS = 1800_000;

/** Signatures are looked at by who asks (rpm-packages.ts), of what was downloaded. */
const repository = (id: string, url: string) =>
  `[${id}]\nname=${id}\nbaseurl=${url}\nenabled=1\nautorefresh=1\ngpgcheck=0\ntype=rpm-md\n`;

/** zypper(8): each in a folder of its own. */
const optionsOf = (folder: string, root: string) => [
  ...["--non-interactive", "--xmlout", "--root", root],
  ...["--reposd-dir", join(folder, "repos.d"), "--cache-dir", join(folder, "cache")],
];

export class Zypper implements RpmTool {
  readonly #options: RpmToolOptions;

  constructor(options: RpmToolOptions) {
    this.#options = options;
  }

  async #run(
    args: readonly string[],
    { packages, timeoutMs = LISTS_MS }: { packages?: string; timeoutMs?: number } = {},
  ) {
    const { folder, sources, signal } = this.#options;
    const root = join(folder, "root");
    await mkdir(root, { recursive: true });
    await rm(join(folder, "repos.d"), { recursive: true, force: true });
    await mkdir(join(folder, "repos.d"));
    for (const { id, url } of sources)
      await writeFile(join(folder, `repos.d/${id}.repo`), repository(id, url));
    const own = packages ? ["--pkg-cache-dir", packages] : [];
    return runTool("zypper", [...optionsOf(folder, root), ...own, ...args], { folder, signal, timeoutMs });
  }

  /** @throws PackageError when it has failed */
  #require({ said, ok }: { said: string; ok: boolean }): string {
    if (ok) return said;
    const { sources } = this.#options;
    const errors = [...said.matchAll(/<message type="error">([\s\S]*?)<\/message>/g)].map(([, text = ""]) =>
      plain(text),
    );
    const source = sources.find(({ url }) => errors.some((text) => text.includes(url.replace(/\/$/, ""))));
    const why = errors.join("; ") || plain(said).split("; ").slice(-4).join("; ");
    throw new PackageError(source ? `${source.field}: ${source.url} cannot be read: ${why}` : why);
  }

  async #all(): Promise<Nevra[]> {
    return solvables(this.#require(await this.#run(["search", "-s", "-t", "package"])));
  }

  async names(): Promise<Set<string>> {
    return new Set((await this.#all()).map(({ name }) => name));
  }

  async plan(names: readonly string[]): Promise<Nevra[]> {
    const args = [
      "install",
      "--dry-run",
      "--no-recommends",
      "--auto-agree-with-licenses",
      "--name",
      ...names,
    ];
    const answer = await this.#run(args);
    const problem = /<description>(Problem: [\s\S]*?)<\/description>/.exec(answer.said)?.[1];
    if (problem)
      throw new PackageError(
        `the packages cannot be installed together: ${plain(problem.replace(/^ Solution [\s\S]*$/m, ""))}`,
      );
    return solvables(this.#require(answer));
  }

  async newest(names: readonly string[]): Promise<Nevra[]> {
    if (names.length === 0) return [];
    const said = this.#require(await this.#run(["search", "-s", "-t", "package", "--match-exact", ...names]));
    const found = solvables(said);
    const newest: Nevra[] = [];
    for (const name of names) {
      const one = await newestOf(
        found.filter((each) => each.name === name),
        this.#options.signal,
      );
      if (!one) throw new PackageError(`the package sources have no ${name}`);
      newest.push(one);
    }
    return newest;
  }

  async download(packages: readonly Nevra[], folder: string): Promise<void> {
    const exact = packages.map(({ name, version, arch }) => `${name}.${arch}=${version}`);
    const answer = await this.#run(["download", ...exact], { packages: folder, timeoutMs: DOWNLOAD_MS });
    const came = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".rpm"));
    // What it does not find it may pass over.
    if (answer.ok && came.length >= packages.length) return;
    const all = await this.#all();
    const dropped = packages.filter(
      (wanted) =>
        !all.some(
          ({ name, version, arch }) =>
            name === wanted.name && version === wanted.version && arch === wanted.arch,
        ),
    );
    if (dropped.length === 0) return void this.#require(answer);
    const { sources } = this.#options;
    throw new DroppedError(
      dropped.map(({ name, version }) => `${name} ${version}`),
      sources.map(({ url }) => url),
    );
  }
}

/** Of what signatures have been looked at, zypper need not ask for. What it keeps is in the system's folder. */
export const zypperInstall = ({ root, files }: Installation): string[] => [
  ...["zypper", "--non-interactive", "--no-gpg-checks", "--root", root],
  ...["install", "--no-recommends", "--auto-agree-with-licenses", "--allow-unsigned-rpm", ...files],
];

const plain = (xml: string) =>
  xml
    .replace(/<[^>]*>/g, "")
    .replace(/&(lt|gt|amp|apos|quot);/g, (_, name: string) => SIGNS[name] ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .join("; ");
const SIGNS: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", apos: "'", quot: '"' };

/** Of versions in the environment, where no sign in them means anything to rpm. */
const NEWEST = `%{lua:
local newest
for each in os.getenv("VERSIONS"):gmatch("[^ ]+") do
  if not newest or rpm.vercmp(each, newest) > 0 then newest = each end
end
print(newest)}`;

/** zypper lists what several repositories have in an order of its own; rpm knows which is newest. @throws CommandError, or the signal's reason */
async function newestOf(
  packages: readonly Nevra[],
  signal: AbortSignal | undefined,
): Promise<Nevra | undefined> {
  if (packages.length === 0) return undefined;
  const VERSIONS = packages.map(({ version }) => version).join(" ");
  const newest = (
    await runRpm(["--eval", NEWEST], { env: { VERSIONS }, ...(signal ? { signal } : {}) })
  ).trim();
  return packages.find(({ version }) => version === newest);
}

/** Packages of zypper's XML, in its order. Pure. */
export function solvables(xml: string): Nevra[] {
  return [...xml.matchAll(/<solvable ([^>]*)>/g)].flatMap(([, attributes = ""]) => {
    const value = (name: string) => new RegExp(`(?:^| )${name}="([^"]*)"`).exec(attributes)?.[1];
    const [name, version, arch] = [value("name"), value("edition"), value("arch")];
    const kind = value("type") ?? value("kind");
    return (kind === "package" && name && version && arch && nevra(name, version, arch)) || [];
  });
}
