/** What a recipe takes for granted, against what packages bring. */
import { describe, expect, it } from "vitest";
import type { Recipe } from "../recipe.ts";
import { type Known, unexpected } from "./expected.ts";

const RECIPE: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
const KNOWN: Known = {
  files: new Set([
    "/usr/bin/bash",
    "/usr/sbin/nginx",
    "/usr/lib/systemd/system/nginx.service",
    "/usr/lib/systemd/system/ssh.service",
    "/usr/share/zoneinfo/Europe/Berlin",
    "/usr/share/i18n/locales/de_DE",
    "/usr/share/i18n/locales/de_AT",
    "/usr/lib/jvm/default",
  ]),
  folders: new Set(["/etc", "/etc/nginx"]),
  brought: new Set(["/opt/shop/current", "/opt/shop/serve"]),
  applets: new Set(["/usr/bin/sh", "/usr/sbin/httpd"]),
  said: 'adduser --system --group "redis"\nsudo:*:27:\ng docker - -\nAlias=sshd.service\nupdate-alternatives --install /bin/ksh ksh',
};
const slim = (recipe: Partial<Recipe>) => unexpected({ ...RECIPE, ...recipe }, KNOWN);
const full = (recipe: Partial<Recipe>) => slim({ mode: "full", ...recipe });

it("pictures of its screen are there", () => {
  const branding = { splash: "/opt/shop/current/splash.png", wallpaper: "/srv/wall.jpg" };
  expect(full({ branding })).toEqual([
    "recipe.branding.wallpaper: the image has no file /srv/wall.jpg; bring it by recipe.files, an archive or a package",
  ]);
});

describe("of users", () => {
  it.each([
    "/bin/bash",
    "/usr/bin/bash",
    "/bin/sh",
    "/opt/shop/current/sh",
    "/usr/lib/jvm/default/x",
    "/bin/ksh",
  ])("the shell %s is there, or may be", (shell) =>
    expect(full({ users: [{ name: "ada", shell }] })).toEqual([]),
  );
  it("a shell that no package has is told", () =>
    expect(full({ users: [{ name: "ada" }, { name: "bob", shell: "/bin/bahs" }] })).toEqual([
      "recipe.users[1].shell: the image has no /bin/bahs; did you mean /usr/bin/bash? Else name its package in recipe.packages",
    ]));
  it("groups are those of slim images, and their own", () => {
    expect(slim({ users: [{ name: "ada" }, { name: "bob", groups: ["sudo", "ada", "bob"] }] })).toEqual([]);
    expect(
      slim({
        users: [
          { name: "ada", groups: ["mallory"] },
          { name: "bob", groups: ["docker"] },
        ],
      }),
    ).toEqual([
      expect.stringMatching(
        /^recipe\.users\[0\]\.groups\[0\]: the image has no group mallory; it has root, /,
      ),
      expect.stringMatching(/^recipe\.users\[1\]\.groups\[0\]: the image has no group docker; it has root, /),
    ]);
  });
  it("groups are those that packages of full images make, in lists or scripts", () => {
    const groups = ["sudo", "docker", "redis", "dokcer", "lxd"];
    expect(full({ users: [{ name: "ada", groups }] })).toEqual([
      "recipe.users[0].groups[3]: the image has no group dokcer; did you mean docker?",
      "recipe.users[0].groups[4]: the image has no group lxd; name the package that makes it in recipe.packages",
    ]);
  });
  it("groups may be of a list that the recipe brings itself", () => {
    const brought = new Set(["/etc/group"]);
    const recipe = { ...RECIPE, users: [{ name: "ada", groups: ["any"] }] };
    expect(unexpected(recipe, { ...KNOWN, brought })).toEqual([]);
  });
});

describe("of services", () => {
  it("units are packages', by any of their names, or the recipe's", () => {
    expect(full({ services: [{ name: "nginx" }, { name: "sshd" }] })).toEqual([]);
    expect(full({ services: [{ name: "ngnix" }, { name: "other" }] })).toEqual([
      "recipe.services[0]: no package brings the unit ngnix.service; did you mean nginx?",
      "recipe.services[1]: no package brings the unit other.service; name its package in recipe.packages, or give a command",
    ]);
  });
  it("programs that a command names by their paths are there", () => {
    const of = (command: string, more: Partial<Recipe> = {}) =>
      slim({ services: [{ name: "a", command }], ...more });
    for (const command of [
      "/usr/sbin/nginx -g x",
      "/bin/sh -c 'exec x'",
      "/opt/shop/serve",
      "shop",
      "/data/shop",
      "$SHOP/x",
    ])
      expect(of(command), command).toEqual([]);
    expect(of("/usr/sbin/ngnix -g x")).toEqual([
      "recipe.services[0].command: the image has no /usr/sbin/ngnix; did you mean /usr/sbin/nginx? Else name its package in recipe.packages",
    ]);
    // It may be what brings it.
    expect(of("/usr/sbin/ngnix", { firstBoot: "apt-get install ngnix" })).toEqual([]);
  });
});

it("language and time zone are of the packages with them", () => {
  expect(slim({ locale: "de_DE.UTF-8", timeZone: "Europe/Berlin" })).toEqual([]);
  expect(slim({ locale: "C.UTF-8", timeZone: "UTC" })).toEqual([]);
  expect(slim({ locale: "de_XX.UTF-8", timeZone: "Europe/Belrin" })).toEqual([
    "recipe.locale: there is no de_XX.UTF-8; of that language there is de_AT.UTF-8, de_DE.UTF-8",
    "recipe.timeZone: the image's package of time zones has no Europe/Belrin; did you mean Europe/Berlin?",
  ]);
});

it("languages of RPMs are told as recipes name them", () => {
  const files = ["de_AT.utf8", "de_AT", "de_AT.utf8@euro", "de_AT.utf8/LC_TIME"].map(
    (name) => `/usr/lib/locale/${name}`,
  );
  const recipe = { ...RECIPE, distribution: "fedora", release: "43", locale: "de_XX.UTF-8" } as const;
  expect(unexpected(recipe, { ...KNOWN, files: new Set(files) })).toEqual([
    "recipe.locale: there is no de_XX.UTF-8; of that language there is de_AT.UTF-8, de_AT.UTF-8@euro",
  ]);
});

it("the script of the first boot has its interpreter", () => {
  expect(slim({ firstBoot: "#!/bin/sh\n" })).toEqual([]);
  expect(slim({ firstBoot: "#! /usr/bin/bash -e\n" })).toEqual([]);
  expect(slim({ firstBoot: "#!/usr/bin/bahs\n" })).toEqual([
    "recipe.firstBoot: its first line names /usr/bin/bahs, which the image does not have; did you mean /usr/bin/bash? Else name its package in recipe.packages",
  ]);
});

it("files and folders do not stand in each other's place", () => {
  const files = ["/etc/nginx", "/srv/", "/a", "/a/b", "/etc/motd"].map((path) => ({ path, content: "" }));
  expect(slim({ files, directories: ["/a/c", "/a", "/srv"] })).toEqual([
    "recipe.files[0].path: /etc/nginx is a folder in the image; name a file in it",
    "recipe.files[1].path: /srv/ is a folder in the image; name a file in it",
    "recipe.files[3].path: /a/b is to be in /a, which is a file of the recipe, too",
    "recipe.directories[0]: /a/c cannot be made: /a is a file of the recipe",
    "recipe.directories[1]: /a cannot be made: /a is a file of the recipe",
  ]);
});

it("nothing is put where a machine that has started does not see it", () => {
  const files = ["/run/a", "/tmp/b", "/var/run/c", "/dev/d", "/srv/run/e"].map((path) => ({
    path,
    content: "",
  }));
  const archives = [{ file: "a.tar", path: "/tmp", sha256: "0".repeat(64), bytes: 512 }];
  expect(slim({ files, archives, directories: ["/run/shop", "/proc/x", "/dev/shm/y"] })).toEqual([
    ...["/run/a", "/tmp/b", "/var/run/c", "/dev/d"].map(
      (path, i) =>
        `recipe.files[${i}].path: ${path} would not be seen: that folder is made anew when a machine starts; put it elsewhere, or have firstBoot or a service make it`,
    ),
    "recipe.archives[0].path: /tmp would not be seen: that folder is made anew when a machine starts; put it elsewhere",
    "recipe.directories[1]: /proc/x would not be seen: that is the kernel's; name another one",
  ]);
});
