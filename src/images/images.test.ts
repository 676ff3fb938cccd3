/** The parts of the image builder that need no disk and no network. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadOrder } from "./boot/kernel.ts";
import { checkImage } from "./checks.ts";
import { Apt, type AptOptions } from "./packages/apt.ts";
import { nearest } from "./packages/nearest.ts";
import { requireKeys, sourcesFor } from "./packages/sources.ts";
import { digestOf, sameRecipe } from "./recipe.ts";
import { aptRelease, type DistributionName, type ReleaseName, releaseOf } from "./releases/releases.ts";
import { seedFiles } from "./seed.ts";
import { guestFiles } from "./slim/slim-files.ts";
import { rooted } from "./workshop/rooted.ts";

const RECIPE = { distribution: "debian", release: "bookworm", packages: ["nginx-light"] } as const;

describe("kernel modules", () => {
  const DEP = [
    "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko",
    "kernel/drivers/virtio/virtio.ko:",
    "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko",
    "kernel/fs/nls/nls_cp437.ko:",
    "kernel/drivers/net/virtio-net.ko: kernel/drivers/virtio/virtio.ko",
  ].join("\n");
  it("are loaded after what they need, once, whatever their name's spelling", () => {
    expect(loadOrder(DEP, ["virtio_pci", "virtio_net", "virtio"])).toEqual([
      "kernel/drivers/virtio/virtio.ko",
      "kernel/drivers/virtio/virtio_ring.ko",
      "kernel/drivers/virtio/virtio_pci.ko",
      "kernel/drivers/net/virtio-net.ko",
    ]);
  });
  it("that are built in are left out", () => {
    expect(loadOrder(DEP, ["ext4"])).toEqual([]);
  });
});

describe("a wrong package name", () => {
  const all = ["nginx", "nginx-light", "nginx-full", "redis", "bash"];
  it("is answered with the nearest ones", () => {
    expect(nearest("nginx-ligth", all)).toEqual(["nginx-light"]);
    expect(nearest("ngimx", all)).toEqual(["nginx"]);
  });
  it("that resembles none gets no guess", () => {
    expect(nearest("postgresql", all)).toEqual([]);
  });
});

describe("package sources", () => {
  const of = (id: string, codename: string) => `PRETTY_NAME="x"\nID=${id}\nVERSION_CODENAME=${codename}\n`;
  const bookworm = aptRelease("bookworm");
  const keys = bookworm.keys.files[0];
  it("are the host's own only when it is Debian of the recipe's release, and no mirror is named", () => {
    const debian = of("debian", "bookworm");
    expect(sourcesFor(bookworm, { osRelease: debian, keys })).toBeUndefined();
    for (const osRelease of [of("debian", "trixie"), of("ubuntu", "noble"), "", of("ubuntu", "bookworm")])
      expect(sourcesFor(bookworm, { osRelease, keys })).toMatch(
        /^deb \[arch=amd64 signed-by=\S+\] http:\/\/deb.debian.org\/debian bookworm main\n.* bookworm-security main\n$/s,
      );
    const mirror = { uri: "http://mirror.example/debian" };
    expect(sourcesFor(bookworm, { osRelease: debian, keys, mirror })).toMatch(
      /^deb \S+ \S+ http:\/\/mirror.example\/debian bookworm main\n.*http:\/\/deb.debian.org\/debian-security /s,
    );
  });
  it("that nobody can check are refused", () => {
    expect(() => requireKeys(aptRelease("noble"), false)).toThrow(
      /ubuntu-archive-keyring.*no package of Debian 12 has them: give them as recipe\.mirror\.key, .*https:\/\/keyserver\.ubuntu\.com/,
    );
    expect(() => requireKeys(bookworm, false)).toThrow(/install debian-archive-keyring, or give them/);
  });
  it("are the usual ones when only their key is named", () => {
    const debian = of("debian", "bookworm");
    expect(sourcesFor(bookworm, { osRelease: debian, keys: "/k.asc", mirror: { key: "k" } })).toMatch(
      /^deb \[arch=amd64 signed-by=\/k.asc\] http:\/\/deb.debian.org\/debian bookworm main\n/,
    );
  });
  it("are plain, for who asks the distribution's own lists, when no other mirror is named", () => {
    const plain = (options: AptOptions) => new Apt("/cache", "bookworm", undefined, options).isPlain;
    expect(plain({})).toBe(true);
    expect(plain({ mirror: { uri: "http://mirror.example/debian" } })).toBe(false);
    expect(plain({ repositories: [{ uri: "http://x", suites: ["a/"], key: "k" }] })).toBe(false);
  });
  it("of RPMs have all keys that sign them", () => {
    const named = (distribution: DistributionName, release: ReleaseName) =>
      releaseOf({ distribution, release }).keys.files.map((path) => path.split("RPM-GPG-KEY-")[1]);
    expect(named("centos-stream", "9")).toEqual(["CentOS-Official"]);
    expect(named("centos-stream", "10")).toEqual(["CentOS-Official-SHA256"]);
    expect(named("opensuse", "tumbleweed")).toContain("openSUSE-Tumbleweed");
    expect(named("opensuse", "leap-15.6")).toEqual(
      expect.arrayContaining(["openSUSE-2022", "SuSE-SLE-15", "openSUSE-Backports-2023"]),
    );
  });
});

describe("first-boot data", () => {
  const seed = { instanceId: "u-1", hostname: "web-1", sshAuthorizedKeys: ["ssh-ed25519 AAAA me: here"] };
  it("is what cloud-init reads", () => {
    const files = seedFiles(seed);
    expect(parse(files["meta-data"] ?? "")).toEqual({ "instance-id": "u-1", "local-hostname": "web-1" });
    expect(files["user-data"]).toMatch(/^#cloud-config\n/);
    expect(parse(files["user-data"] ?? "")).toEqual({
      hostname: "web-1",
      ssh_authorized_keys: ["ssh-ed25519 AAAA me: here"],
    });
  });
  it("may be the user's own", () => {
    expect(seedFiles({ ...seed, userData: "#!/bin/sh\n" })["user-data"]).toBe("#!/bin/sh\n");
  });
});

describe("a recipe", () => {
  it("is the same however its fields are ordered, and another with whatever it says", () => {
    const recipe = { ...RECIPE, packages: ["nginx-light"] };
    const { packages, ...rest } = recipe;
    expect(sameRecipe(recipe, { packages, ...rest })).toBe(true);
    expect(sameRecipe(recipe, { ...recipe, packages: ["nginx-full"] })).toBe(false);
    expect(sameRecipe(recipe, undefined)).toBe(false);
    expect(digestOf([{ a: 1, b: { d: [2, 1], c: null } }])).toBe(
      digestOf([{ b: { c: null, d: [2, 1] }, a: 1 }]),
    );
    expect(digestOf([1, 2])).not.toBe(digestOf([2, 1]));
  });
  it("becomes services that init keeps running, and files that come last", () => {
    const files = guestFiles({
      ...RECIPE,
      packages: [],
      services: [{ name: "web", command: "/usr/sbin/nginx" }],
      files: [{ path: "/etc/hostname", content: "mine\n", mode: "0600" }],
    });
    expect(files.find(({ path }) => path === "/etc/inittab")?.content).toContain(
      "::respawn:/etc/vireo/services/web\n",
    );
    const service = files.find(({ path }) => path === "/etc/vireo/services/web");
    expect(service).toMatchObject({
      mode: 0o755,
      content: expect.stringContaining("exec /usr/sbin/nginx\n"),
    });
    expect(files.at(-1)).toEqual({ path: "/etc/hostname", content: "mine\n", mode: 0o600 });
  });
});

describe("a lock", () => {
  const check = (packages: string[]) => {
    const spec = {
      storagePool: "default",
      recipe: { ...RECIPE, packages, lock: [{ name: "nginx-light", version: "1", sha256: "0".repeat(64) }] },
    };
    const image = { apiVersion: "vireo.dev/v1", kind: "Image", metadata: { name: "web" }, spec };
    return checkImage(image, undefined, { list: () => [] });
  };
  it("has every package that the recipe names", () => {
    expect(check(["nginx-light"])).toEqual([]);
    expect(check(["nginx-light", "redis-server"])).toMatchObject([
      {
        field: "spec.recipe.packages[1]",
        message: expect.stringContaining('"redis-server": is not in spec.recipe.lock'),
      },
    ]);
  });
});

describe("paths in an image under construction", () => {
  it("never leave it, whatever links and dots say", async () => {
    const root = mkdtempSync(join(tmpdir(), "vireo-rooted-"));
    try {
      mkdirSync(join(root, "var"));
      mkdirSync(join(root, "etc"));
      symlinkSync("/run", join(root, "var/run"));
      symlinkSync("../../../../etc", join(root, "var/up"));
      symlinkSync("/etc/passwd", join(root, "etc/link"));
      symlinkSync("b", join(root, "a"));
      symlinkSync("a", join(root, "b"));
      expect(await rooted(root, "/var/run/x/y")).toBe(join(root, "run/x/y"));
      expect(await rooted(root, "/var/up/motd")).toBe(join(root, "etc/motd"));
      expect(await rooted(root, "/../../etc/motd")).toBe(join(root, "etc/motd"));
      expect(await rooted(root, "/etc/link")).toBe(join(root, "etc/passwd"));
      await expect(rooted(root, "/a/x")).rejects.toThrow("/a/x: the links on the way lead in a circle");
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
