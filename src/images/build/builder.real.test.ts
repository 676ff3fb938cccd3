/** A small image built from Debian's packages and booted with QEMU: it takes its first-boot data, runs its service, and shuts down when asked. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { sha256Of } from "../../system/digest.ts";
import { run } from "../../system/run.ts";
import type { BuiltImage } from "../kinds.ts";
import type { Recipe } from "../recipe.ts";
import { makeSeed, SEED_SERIAL } from "../seed.ts";
import { bootToEnd } from "../testing/boot.ts";
import { buildImage } from "./builder.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-image-"));
  mkdirSync(join(folder, "images"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe = {
  distribution: "debian" as const,
  release: "bookworm" as const,
  packages: [],
  directories: ["/var/lib/greet/notes"],
  services: [{ name: "greet", command: "/usr/bin/greet" }],
  files: [
    {
      path: "/usr/bin/greet",
      mode: "0755",
      content:
        '#!/bin/sh\ncd /var/lib/greet/notes && echo "greet: $(hostname), $(cat /root/.ssh/authorized_keys)"\nexec sleep 1000\n',
    },
  ],
};
const nothing = () => {};
let built: BuiltImage;

it("boots, takes its name and keys, keeps a service running, and powers down", async () => {
  const stages: string[] = [];
  const options = {
    name: "greet",
    recipe,
    folder: join(folder, "images"),
    cache: CACHE,
    progress: (stage: string) => void stages.push(stage),
  };
  built = await buildImage(options);
  expect(stages).toEqual(["packages", "unpack", "initrd", "disk"]);
  expect(readdirSync(options.folder).filter((name) => name.startsWith("."))).toEqual([]);
  expect(built.packages?.map(({ name }) => name)).toContain("busybox-static");
  // The same of the same packages is there at once.
  stages.length = 0;
  expect(await buildImage(options)).toEqual(built);
  expect(stages).toEqual(["packages"]);
  // A version before did not see to it that its description outlived a power cut.
  const described = readdirSync(options.folder).find((name) => /^greet-[0-9a-f]{12}\.json$/.test(name));
  for (const damaged of ["", "{}"]) {
    writeFileSync(join(options.folder, described ?? ""), damaged);
    expect(await buildImage(options)).toEqual(built);
  }

  expect(await boot(built, options.folder)).toContain("greet: greeter, ssh-ed25519 AAAA me");
});

/** In this slot, behind the image's. */
const diskAt = (addr: string, path: string, more = "serial=data") => [
  ...["-drive", `id=at${addr},if=none,format=raw,readonly=on,file=${path}`],
  ...["-device", `virtio-blk-pci,drive=at${addr},addr=${addr},${more}`],
];

/** Until it has greeted and was asked to power down. @returns what it said */
async function boot(image: BuiltImage, images: string): Promise<string> {
  const seed = join(folder, "seed.img");
  await makeSeed(seed, { instanceId: "1", hostname: "greeter", sshAuthorizedKeys: ["ssh-ed25519 AAAA me"] });
  // Data disks with the same label.
  const stranger = { instanceId: "2", hostname: "stranger", sshAuthorizedKeys: [] };
  for (const name of ["stranger-a.img", "stranger-b.img"]) await makeSeed(join(folder, name), stranger);
  return bootToEnd(images, image, {
    ...{ memoryMiB: 128, timeoutMs: 120_000 },
    devices: [
      ...diskAt("0x1a", join(folder, "stranger-a.img")),
      ...diskAt("0x1b", seed, `serial=${SEED_SERIAL}`),
      ...diskAt("0x1c", join(folder, "stranger-b.img")),
    ],
    isDone: (said) => said.includes("greet: "),
  });
}

it("has users, language, time zone and names as the recipe says, its script ran, and its root is only read", async () => {
  const more: Recipe = {
    ...recipe,
    root: "squashfs",
    directories: ["/run/shop/now"],
    hostname: "shop",
    locale: "de_DE.UTF-8",
    timeZone: "Europe/Berlin",
    branding: { motd: "Hello", osRelease: { prettyName: 'The "Shop" for $1' } },
    users: [
      { name: "ada", groups: ["adm"], sshAuthorizedKeys: ["ssh-ed25519 AAAB ada"], passwordHash: "$6$a$b" },
    ],
    firstBoot: "echo first at $(date +%Z) > /run/first\n",
    files: [
      {
        path: "/usr/bin/greet",
        mode: "0755",
        content: `#!/bin/sh
grep PRETTY /etc/os-release
ls -ln /home/ada/.ssh
ls /usr/lib/locale/$LANG/LC_TIME
mount | grep ' / '
echo "greet: $(cat /run/first), $(id ada), $(cat /etc/motd), $(ls /run/shop)"
exec sleep 1000
`,
      },
    ],
  };
  const options = { name: "shop", folder: join(folder, "shop"), cache: CACHE, progress: nothing };
  const image = await buildImage({ ...options, recipe: more });
  const said = await boot(image, options.folder);
  expect(said).toContain(
    "greet: first at CET, uid=1000(ada) gid=1000(ada) groups=1000(ada),4(adm), Hello, now",
  );
  expect(said).toContain('PRETTY_NAME="The \\"Shop\\" for \\$1"');
  expect(said).toMatch(/-rw------- +1 1000 +1000 .* authorized_keys/);
  expect(said).toContain("/usr/lib/locale/de_DE.UTF-8/LC_TIME");
  expect(said).toMatch(/overlay on \/ type overlay/);
  // Nothing of it is of the moment of the build.
  const again = await buildImage({ ...options, folder: join(folder, "shop-again"), recipe: more });
  expect(again.sha256).toBe(image.sha256);
  await expect(
    buildImage({
      ...options,
      folder: join(folder, "large"),
      recipe: { ...more, maxMiB: 5, locale: "C.UTF-8" },
    }),
  ).rejects.toThrow(
    /^recipe\.maxMiB: the image takes \d+\.\d MiB, more than 5 MiB; the largest in it, unpacked: \S+ /,
  );
}, 600_000);

it("is the same, bit for bit, when it is built elsewhere from its lock", async () => {
  const lock = built.packages?.map(({ name, version, sha256 = "" }) => ({ name, version, sha256 })) ?? [];
  expect(lock.map(({ name }) => name)).toContainEqual(expect.stringMatching(/^linux-image-/));
  const elsewhere = join(folder, "elsewhere");
  const options = { name: "again", folder: elsewhere, cache: CACHE, progress: nothing };
  const again = await buildImage({ ...options, recipe: { ...recipe, lock } });
  expect(again.sha256).toBe(built.sha256);
  expect(again.packages).toEqual(built.packages);
  const files = ["kernel", "initrd"] as const;
  for (const file of files)
    expect(await sha256Of(join(elsewhere, again.boot?.[file] ?? "")), file).toBe(
      await sha256Of(join(folder, "images", built.boot?.[file] ?? "")),
    );
  // Another moment, another folder, and a file system without faults.
  const raw = join(folder, "again.raw");
  await run("qemu-img", ["convert", "-O", "raw", join(elsewhere, again.file ?? ""), raw]);
  await run("e2fsck", ["-fn", raw]);

  const wrong = lock.map((locked, i) => (i === 0 ? { ...locked, sha256: "0".repeat(64) } : locked));
  await expect(buildImage({ ...options, recipe: { ...recipe, lock: wrong } })).rejects.toThrow(
    /^recipe\.lock: \S+ \S+ has the sha256 .*, the lock says 0{64}$/,
  );
  const gone = lock.map((locked, i) => (i === 0 ? { ...locked, version: "0-gone" } : locked));
  await expect(buildImage({ ...options, recipe: { ...recipe, lock: gone } })).rejects.toThrow(
    /^recipe\.lock: not all of its packages are to be had: \S+ 0-gone is not there, or no longer, at http\S+/,
  );
});

it("that could not have what its recipe says is refused before anything is unpacked, with each field", async () => {
  const begun: string[] = [];
  const wrong: Recipe = {
    ...recipe,
    users: [{ name: "ada", groups: ["adm", "vidoe"], shell: "/bin/zsh" }],
    locale: "de_XX.UTF-8",
    services: [
      { name: "greet", command: "/usr/bin/greet" },
      { name: "web", command: "/usr/sbin/httdp -f" },
      { name: "other", command: "/bin/httpd -f" },
    ],
    firstBoot: "#!/usr/bin/env python3\n",
    files: [
      ...recipe.files,
      { path: "/etc/qemu", content: "" },
      { path: "/usr/bin/greet/more", content: "" },
    ],
  };
  const { firstBoot: _, ...withServices } = wrong;
  const progress = (stage: string) => void begun.push(stage);
  const options = { name: "wrong", folder: join(folder, "wrong"), cache: CACHE, progress };
  const says = (recipe: Recipe) =>
    buildImage({ ...options, recipe }).then(
      () => [],
      (error: Error) => error.message.split("; recipe."),
    );
  expect(await says(wrong)).toEqual([
    "recipe.files[1].path: /etc/qemu is a folder in the image; name a file in it",
    "files[2].path: /usr/bin/greet/more is to be in /usr/bin/greet, which is a file of the recipe, too",
    "users[0].groups[1]: the image has no group vidoe; did you mean video?",
    expect.stringMatching(
      /^users\[0\]\.shell: the image has no \/bin\/zsh; .*name its package in recipe\.packages$/,
    ),
    "firstBoot: its first line names python3, which the image does not have; name its package in recipe.packages",
    expect.stringMatching(
      /^locale: there is no de_XX\.UTF-8; of that language there is de_AT\.UTF-8, .*de_DE\.UTF-8/,
    ),
  ]);
  expect(await says(withServices)).toContainEqual(
    "services[1].command: the image has no /usr/sbin/httdp; did you mean /usr/sbin/httpd? Else name its package in recipe.packages",
  );
  expect(begun).toEqual(["packages", "packages"]);
  expect(readdirSync(options.folder)).toEqual([]);
});

it("that nobody wants any more ends before its next stage, and leaves nothing", async () => {
  const cancel = new AbortController();
  const begun: string[] = [];
  const progress = (stage: string) => {
    begun.push(stage);
    if (stage === "unpack") cancel.abort();
  };
  const options = { name: "unwanted", recipe, folder: join(folder, "unwanted"), cache: CACHE, progress };
  await expect(buildImage({ ...options, signal: cancel.signal })).rejects.toThrow("aborted");
  expect(begun.at(-1)).toBe("unpack");
  expect(readdirSync(options.folder)).toEqual([]);
});
