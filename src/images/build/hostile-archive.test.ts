/** Archives and packages of strangers, through all that is done in the root of a slim image: nothing of this machine is run, read, changed or removed. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sha256Of } from "../../system/digest.ts";
import { archiveFile, archivesFolder, makeFolder } from "../archives/store.ts";
import { addModules } from "../boot/kernel.ts";
import type { Package } from "../packages/packages.ts";
import type { Recipe } from "../recipe.ts";
import { makeRoot } from "../slim/slim-root.ts";
import { largestParts } from "./size.ts";

let folder = "";
const at = (...names: string[]) => join(folder, ...names);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-hostile-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const LIBRARIES = "usr/lib/x86_64-linux-gnu";

function put(tree: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), content);
    chmodSync(join(tree, path), content.startsWith("#!") ? 0o755 : 0o644);
  }
}

/** A package with these files, as dpkg-deb makes it. */
async function debOf(name: string, files: Readonly<Record<string, string>>): Promise<Package> {
  const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: a\n`;
  put(at(name), { ...files, "DEBIAN/control": control });
  const file = at(`${name}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", at(name), file]);
  return { name, version: "1", file, sha256: await sha256Of(file) };
}

/** All files of the machine that must stay as they are, with their content. */
const lookAt = (machine: string) =>
  readdirSync(machine, { withFileTypes: true, recursive: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [path, lstatSync(path).mtimeMs, lstatSync(path).isFile() && readFileSync(path, "utf8")])
    .sort();

/** What an archive's links lead to: "SECRET" must not come into the image. */
const MACHINE = {
  "bin/bash": "SECRET",
  "bin/applet": "SECRET",
  "bin/shop": "SECRET",
  "dpkg/status.d/shop": "SECRET",
  "sbom/image.spdx.json": "SECRET",
  "modules/6.1/modules.dep": "SECRET",
  "skel/.profile": "SECRET",
  "ssh/authorized_keys": "SECRET",
  "cache/aux-cache": "SECRET",
  "gconv/a.so": "SECRET",
  "vim/vimrc": "SECRET",
  "default/locale": "SECRET",
  "zoneinfo/Europe/Berlin": "SECRET",
  "shop.list": "SECRET",
  passwd: "root:SECRET:0:0::/:/bin/sh\n",
  group: "root:SECRET:0:\n",
  shadow: "root:SECRET:1::::::\n",
  issue: "SECRET",
};

it.each([
  ["what nothing needs", undefined],
  ["what the run has not used", ["/usr/bin/shop"]],
])("with %s left out", async (_, traced) => {
  const machine = at("machine");
  put(machine, MACHINE);
  const links = {
    "usr/games": "bin",
    "usr/libexec": "bin",
    "var/lib/dpkg": "dpkg",
    "usr/share/sbom": "sbom",
    "usr/lib/modules": "modules",
    "var/cache/ldconfig": "cache",
    [`${LIBRARIES}/gconv`]: "gconv",
    "usr/share/vim": "vim",
    "usr/share/zoneinfo": "zoneinfo",
    "etc/default": "default",
    "etc/skel": "skel",
    "etc/passwd": "passwd",
    "etc/group": "group",
    "etc/shadow": "shadow",
    "etc/issue": "issue",
    "etc/motd": "issue",
    "etc/os-release": "issue",
    "etc/timezone": "issue",
    "etc/localtime": "issue",
    "etc/locale.gen": "issue",
    "etc/locale.conf": "issue",
    "etc/ld.so.cache": "issue",
    "home/ops/.ssh": "ssh",
    "opt/out": "bin",
  };
  // As if it were the package's.
  const ran = `#!/bin/sh\necho ran > ${machine}/ran\n`;
  const program = ["usr/bin/busybox", "usr/bin/localedef", `${LIBRARIES}/ld-linux-x86-64.so.2`];
  put(at("evil"), { ...Object.fromEntries(program.map((path) => [path, ran])), "opt/evil": ran });
  chmodSync(at("evil/opt/evil"), 0o6755);
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(at("evil", dirname(path)), { recursive: true });
    symlinkSync(join(machine, target), at("evil", path));
  }
  execFileSync("tar", ["-C", at("evil"), "-cf", at("evil.tar"), "."]);
  const store = archivesFolder(at("images"));
  await makeFolder(store);
  const sha256 = await sha256Of(at("evil.tar"));
  execFileSync("cp", [at("evil.tar"), archiveFile(store, sha256)]);

  const debs = [
    await debOf("busybox-static", { "usr/bin/busybox": "#!/bin/sh\necho bin/applet\necho usr/bin/other\n" }),
    await debOf("locales", {
      "usr/share/i18n/locales/de_DE": "x",
      "usr/bin/localedef": "#!/bin/sh\n",
      // Its last argument is where the locale is wanted.
      [`${LIBRARIES}/ld-linux-x86-64.so.2`]:
        '#!/bin/sh\nfor to; do :; done; mkdir -p "$to"; echo made > "$to/LC_CTYPE"\n',
    }),
    await debOf("shop", { "usr/bin/shop": "#!/bin/sh\n", "usr/share/shop/unused": "x" }),
  ];
  const recipe: Recipe = {
    distribution: "debian",
    release: "bookworm",
    root: "ram",
    packages: ["shop"],
    minimize: true,
    ...(traced ? { traced } : {}),
    locale: "de_DE.UTF-8",
    timeZone: "Europe/Berlin",
    branding: { issue: "hello", motd: "hello", osRelease: { name: "Shop" } },
    users: [{ name: "ops", sshAuthorizedKeys: ["ssh-ed25519 AAAA a"] }, { name: "dev" }],
    services: [{ name: "shop", command: "/usr/bin/shop" }],
    directories: ["/opt/out/made"],
    files: [{ path: "/opt/out/bash", content: "of the recipe" }],
    archives: [{ file: "evil.tar", sha256, bytes: statSync(at("evil.tar")).size }],
  };
  // As it is in the image, a link of the archive leads to nothing: a zone that is there.
  const zone = join(machine, "zoneinfo/Europe/Berlin").slice(1);
  const zones = await debOf("tzdata", { [zone]: "zone" });
  const before = lookAt(machine);
  const root = at("root");
  const work = { folder, cache: at("cache"), log: () => {} };
  const contents = debs.map(({ name, version, sha256 }) => ({ name, version, sha256 }));
  const about = { debs: [...debs, zones], contents, digest: "0".repeat(64), archives: store };
  put(at("payload/modules"), { "modules.dep": "of the image" });
  try {
    const { layers } = await makeRoot(work, root, about, recipe);
    await addModules({ folder: at("payload"), release: "6.1" }, root);
    await largestParts(root, { layers, packages: about.debs }, recipe);
  } finally {
    // However it ended.
    expect(lookAt(machine)).toEqual(before);
  }
  // grep -r follows no links; it ends with 1 when there is none.
  expect(spawnSync("grep", ["-rl", "SECRET", root], { encoding: "utf8" })).toMatchObject({
    status: 1,
    stdout: "",
  });
  // It was all done, in the image.
  const inside = (path: string) => readFileSync(join(root, machine, path), "utf8");
  expect(inside("passwd")).toContain("ops:x:1000:");
  expect(inside("ssh/authorized_keys")).toBe("ssh-ed25519 AAAA a\n");
  expect(inside("bin/bash")).toBe("of the recipe");
  expect(inside("dpkg/status.d/shop")).toContain("Package: shop");
  expect(inside("sbom/image.spdx.json")).toContain("shop");
  expect(inside("modules/6.1/modules.dep")).toBe("of the image");
  expect(readFileSync(join(root, "usr/lib/locale/de_DE.UTF-8/LC_CTYPE"), "utf8")).toBe("made\n");
  expect(existsSync(join(root, "usr/bin/applet"))).toBe(true);
  expect(statSync(join(root, "opt/evil")).mode & 0o7777).toBe(0o755);
});

it("no path in a root is put together in another way than by rooted()", () => {
  const folders = ["workshop", "rootfs", "boot", "slim", "full", "build", "archives"].map((name) =>
    join(import.meta.dirname, "..", name),
  );
  const files = folders.flatMap((each) => readdirSync(each).map((name) => join(each, name)));
  const others = files.filter((file) => !/(\.test|\/rooted)\.ts$/.test(file) && file.endsWith(".ts"));
  expect(others.filter((file) => /\bjoin\(root\b|\$\{root\}\//.test(readFileSync(file, "utf8")))).toEqual([]);
});

it.runIf(process.getuid?.() === 0)(
  "programs of packages that run while it is built are nobody's, and neither see this machine nor stay",
  async () => {
    const machine = at("machine");
    put(machine, { secret: "SECRET" });
    chmodSync(machine, 0o777);
    chmodSync(folder, 0o755);
    const nap = `1000.${process.pid}`;
    // What it finds is told by names of programs.
    const looks = `#!/bin/sh
echo "usr/bin/user-$(id -u)"
echo "usr/bin/secret-$(cat ${machine}/secret)"
echo ran > ${machine}/ran
su -c true && echo usr/bin/root
[ -z "$VIREO_SECRET" ] || echo usr/bin/environment
sleep ${nap} >/dev/null 2>&1 &
`;
    const debs = [
      await debOf("busybox-static", { "usr/bin/busybox": looks }),
      await debOf("locales", {
        "usr/share/i18n/locales/de_DE": "x",
        [`${LIBRARIES}/ld-linux-x86-64.so.2`]: `#!/bin/sh
for to; do :; done
mkdir -p "$to"
id -u > "$to/LC_CTYPE"
cat ${machine}/secret > "$to/LC_TIME"
ln -s ${machine}/secret "$to/LC_NAME"
`,
      }),
    ];
    const root = at("root");
    const work = { folder, cache: at("cache"), log: () => {} };
    const about = { debs, contents: [], digest: "0".repeat(64), archives: at("store") };
    const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
    process.env.VIREO_SECRET = "SECRET";
    try {
      await makeRoot(work, root, about, recipe);
      const names = readdirSync(at("root/usr/bin"));
      expect(names.filter((name) => /^(user-0|secret-.|root|environment)/.test(name))).toEqual([]);
      expect(names).toContainEqual(expect.stringMatching(/^user-[1-9]\d+$/));
      expect(readdirSync(machine)).toEqual(["secret"]);
      const running = readdirSync("/proc").filter(
        (pid) => /^\d+$/.test(pid) && spawnSync("grep", ["-qs", nap, `/proc/${pid}/cmdline`]).status === 0,
      );
      expect(running).toEqual([]);

      rmSync(root, { recursive: true });
      await expect(makeRoot(work, root, about, { ...recipe, locale: "de_DE.UTF-8" })).rejects.toThrow(
        "recipe.locale: localedef made LC_NAME, which is no file",
      );
      expect(readFileSync(at("locale/de_DE.UTF-8/LC_CTYPE"), "utf8")).not.toBe("0\n");
      expect(readFileSync(at("locale/de_DE.UTF-8/LC_TIME"), "utf8")).toBe("");
    } finally {
      delete process.env.VIREO_SECRET;
    }
  },
);
