/**
 * Repositories of real RPMs for tests, made by rpmbuild and createrepo_c, signed with a key made here and served over HTTP where a distribution's mirror has them.
 * No mirror of Fedora or openSUSE is needed; what the packages hold is Debian's.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { run } from "../../../system/run.ts";
import { type ServedFolder, serveFolder } from "../../testing/serve-folder.ts";

export interface TestRpm {
  name: string;
  version?: string;
  release?: string;
  epoch?: number;
  requires?: readonly string[];
  conflicts?: readonly string[];
  provides?: readonly string[];
  /** A folder whose files it has. */
  tree?: string;
  /** %post, run by /bin/sh in the image. */
  script?: string;
}

export interface TestMirror extends ServedFolder {
  /** In ASCII armor. */
  key: string;
}

const BUILD_MS = 300_000;

function specOf(rpm: TestRpm, files: string): string {
  const { name, version = "1.0", release = "1", epoch, requires = [], conflicts = [], provides = [] } = rpm;
  const relations = (tag: string, all: readonly string[]) => all.map((each) => `${tag}: ${each}`);
  return [
    `Name: ${name}`,
    `Version: ${version}`,
    `Release: ${release}`,
    ...(epoch === undefined ? [] : [`Epoch: ${epoch}`]),
    `Summary: The ${name} of a test`,
    "License: MIT",
    "AutoReqProv: no",
    ...relations("Requires", requires),
    ...relations("Conflicts", conflicts),
    ...relations("Provides", provides),
    "%description",
    `About ${name}.`,
    ...(rpm.script === undefined ? [] : ["%post -p /bin/sh", rpm.script]),
    ...(rpm.tree === undefined
      ? ["%files"]
      : ["%install", `cp -a "${rpm.tree}/." %{buildroot}`, `%files -f ${files}`]),
    "",
  ].join("\n");
}

/** Makes the package. @returns its path */
export async function buildRpm(folder: string, rpm: TestRpm): Promise<string> {
  const at = join(folder, `${rpm.name}-${rpm.version ?? "1.0"}`);
  mkdirSync(at, { recursive: true });
  const files = join(at, "files");
  if (rpm.tree !== undefined) {
    const found = await run("find", [rpm.tree, "-mindepth", "1", "-printf", "%y %m %P\\n"]);
    const lines = found
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        const [, type = "", mode = "", path = ""] = /^(.) (\d+) (.*)$/.exec(line) ?? [];
        const own = type === "l" ? "" : `%attr(${mode}, root, root) `;
        return `${type === "d" ? "%dir " : ""}${own}"/${path}"\n`;
      });
    writeFileSync(files, lines.join(""));
  }
  const spec = join(at, "package.spec");
  writeFileSync(spec, specOf(rpm, files));
  const defines = [
    `_topdir ${at}`,
    `_rpmdir ${at}/rpms`,
    "_binary_payload w1.gzdio",
    "_build_id_links none",
    "debug_package %{nil}",
    "__os_install_post %{nil}",
    "_target_os linux",
  ];
  const args = defines.flatMap((define) => ["--define", define]);
  await run("rpmbuild", ["--quiet", "-bb", "--target", "x86_64-linux", ...args, spec], {
    timeoutMs: BUILD_MS,
  });
  const [path = ""] = (await run("find", [join(at, "rpms"), "-name", "*.rpm"])).split("\n");
  return path;
}

/**
 * @param parts folders below the mirror's root, each with its packages
 * @param unsigned names of packages that nobody signs
 */
export async function serveRpms(
  folder: string,
  parts: Readonly<Record<string, readonly TestRpm[]>>,
  unsigned: readonly string[] = [],
): Promise<TestMirror> {
  const home = join(folder, "gpg");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const gpg = (...args: string[]) =>
    run("gpg", ["--homedir", home, "--batch", ...args], { timeoutMs: BUILD_MS });
  await gpg("--passphrase", "", "--quick-gen-key", "rpms@example", "rsa3072", "sign", "never");
  const key = await gpg("--armor", "--export");
  const served = join(folder, "served");
  // One that several folders have is made once.
  const made = new Map<TestRpm, string>();
  for (const rpm of new Set(Object.values(parts).flat()))
    made.set(rpm, await buildRpm(join(folder, "build"), rpm));
  const signed = [...made].flatMap(([{ name }, path]) => (unsigned.includes(name) ? [] : [path]));
  const defines = [`_gpg_path ${home}`, "_gpg_name rpms@example", "__gpg /usr/bin/gpg"];
  const signing = ["--addsign", ...defines.flatMap((define) => ["--define", define]), ...signed];
  await run("rpmsign", signing, { timeoutMs: BUILD_MS });
  for (const [part, rpms] of Object.entries(parts)) {
    const at = join(served, part);
    mkdirSync(at, { recursive: true });
    for (const rpm of rpms) {
      const path = made.get(rpm) ?? "";
      symlinkSync(path, join(at, basename(path)));
    }
    await run("createrepo_c", ["--quiet", at], { timeoutMs: BUILD_MS });
  }
  await run("gpgconf", ["--homedir", home, "--kill", "all"]);
  return { ...(await serveFolder(served)), key };
}
