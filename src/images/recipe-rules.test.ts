/** What recipes may say: users, keys, time zones, and what each mode can do. */
import { describe, expect, it } from "vitest";
import { deb822, keyProblem } from "./packages/repositories.ts";
import type { Recipe } from "./recipe.ts";
import { checkMode, checkParts } from "./recipe-rules.ts";
import { withUsers } from "./rootfs/users.ts";

const base: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
const wrong = (recipe: Partial<Recipe>) =>
  [checkParts, checkMode].flatMap((check) =>
    check({ ...base, ...recipe }).map(({ field, message }) => `${field}: ${message}`),
  );
const starts = (text: string) => expect.stringMatching(new RegExp(`^${text.replace(/[.[\]]/g, "\\$&")}`));

/** Made for this test by gpg. */
const KEY = `-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawt0HxYJKwYBBAHaRw8BAQdAqf0FGl9s5VyEYPRBHk3MPogOiiIcA148h2sn
AFmkjlW0GXZpcmVvIHRlc3QgPHRlc3RAZXhhbXBsZT6IkAQTFggAOBYhBBHBAfd5
8eMeSSCppMdIyOYh2XU/BQJrC3QfAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheA
AAoJEMdIyOYh2XU/o9EBALhCKl5EPkg6bOGhMrJOw7V9bu2gTcC+N9/wCxAtcQxM
AP92MFjnZGXfvocoPsDqZpFIYVhqxHW11eRYij7ufkiKCw==
=Wwjy
-----END PGP PUBLIC KEY BLOCK-----
`;

describe("a recipe", () => {
  it("of a full image may name units; a slim one has none", () => {
    const services = [{ name: "nginx" }];
    expect(wrong({ mode: "full", services })).toEqual([]);
    expect(wrong({ services })).toEqual([starts("spec.recipe.services[0].command: Required value: slim")]);
  });
  it("of a full image leaves out what would break its package manager, or would not fit", () => {
    expect(wrong({ traced: ["/bin/sh"] })).toEqual([
      starts("spec.recipe.traced: Forbidden: only with minimize something is left out by it; set"),
    ]);
    expect(wrong({ traced: ["/bin/sh"], minimize: true })).toEqual([]);
    expect(wrong({ mode: "full", traced: ["/bin/sh"] })).toEqual([starts("spec.recipe.traced: ")]);
    expect(wrong({ mode: "full", root: "ram", minimize: true })).toEqual([
      starts("spec.recipe.root: "),
      starts("spec.recipe.minimize: "),
    ]);
    expect(wrong({ mode: "full", root: "squashfs", profile: "text" })).toEqual([]);
    expect(wrong({ profile: "server" })).toEqual([starts("spec.recipe.profile: ")]);
  });
  it("shows pictures where there is a screen for them", () => {
    const wallpaper = "/usr/share/backgrounds/a.jpg";
    expect(wrong({ mode: "full", profile: "kde", branding: { wallpaper, splash: "/a.png" } })).toEqual([]);
    expect(wrong({ mode: "full", profile: "text", branding: { wallpaper } })).toEqual([
      starts("spec.recipe.branding.wallpaper: Forbidden: there is no desktop"),
    ]);
    expect(wrong({ mode: "full", profile: "gnome", kernel: "cloud" })).toEqual([
      starts('spec.recipe.kernel: Invalid value: "cloud": it has no driver for a screen'),
    ]);
    expect(wrong({ branding: { splash: "/a.png" } })).toEqual([
      starts("spec.recipe.branding.splash: Forbidden: it is shown by full images"),
    ]);
    expect(wrong({ mode: "full", branding: { splash: "/a.png" } })).toEqual([
      starts("spec.recipe.branding.splash: Forbidden: the small kernel"),
    ]);
    const files = [{ path: "/a.png", content: "no picture" }];
    expect(wrong({ mode: "full", kernel: "generic", files, branding: { splash: "/a.png" } })).toEqual([
      starts('spec.recipe.branding.splash: Invalid value: "/a.png": that file of the recipe is no picture'),
    ]);
  });
  it("has a desktop where its packages are known", () => {
    const fedora = { distribution: "fedora", release: "43", mode: "full" } as const;
    expect(wrong({ ...fedora, profile: "gnome" })).toEqual([
      starts('spec.recipe.profile: Invalid value: "gnome": Vireo knows the packages of gnome in Debian'),
    ]);
  });
  it("names no kernel among its packages, and a time zone that there is", () => {
    expect(wrong({ packages: ["linux-image-amd64"], timeZone: "Europe/Bielefeld" })).toEqual([
      starts("spec.recipe.packages[0]: "),
      starts('spec.recipe.timeZone: Invalid value: "Europe/Bielefeld"'),
    ]);
    for (const timeZone of ["Europe/Berlin", "UTC", "US/Eastern"]) expect(wrong({ timeZone })).toEqual([]);
  });
  it("names repositories with their keys and components", () => {
    const repository = { uri: "http://packages.example/debian", suites: ["stable"], key: KEY };
    expect(wrong({ repositories: [{ ...repository, components: ["main"] }] })).toEqual([]);
    expect(wrong({ repositories: [repository] })).toEqual([
      starts("spec.recipe.repositories[0].components: "),
    ]);
    expect(wrong({ repositories: [{ ...repository, suites: ["./"] }] })).toEqual([]);
    expect(wrong({ repositories: [{ ...repository, suites: ["./"], components: ["main"] }] })).toEqual([
      starts("spec.recipe.repositories[0].suites: "),
    ]);
    expect(wrong({ repositories: [{ ...repository, suites: ["./"], key: "abc" }] })).toEqual([
      starts("spec.recipe.repositories[0].key: Invalid value: the key is no public key"),
    ]);
  });
});

describe("a recipe of another distribution", () => {
  const fedora = { distribution: "fedora", release: "43", mode: "full" } as const;
  it("names a release of it", () => {
    expect(wrong(fedora)).toEqual([]);
    expect(wrong({ ...fedora, release: "bookworm" })).toEqual([
      starts('spec.recipe.release: Invalid value: "bookworm": fedora has 42, 43;'),
    ]);
    expect(wrong({ distribution: "debian", release: "trixie" })).toEqual([]);
    expect(wrong({ distribution: "ubuntu", release: "noble" })).toEqual([]);
  });
  it("of RPMs is full", () => {
    expect(wrong({ ...fedora, mode: "slim" })).toEqual([
      starts('spec.recipe.mode: Invalid value: "slim": images of Fedora Linux 43 are full'),
    ]);
  });
  it("names no kernel, repositories without suites, and good keys", () => {
    const repository = { uri: "http://packages.example/43", key: KEY };
    expect(wrong({ ...fedora, repositories: [repository] })).toEqual([]);
    expect(wrong({ repositories: [repository] })).toEqual([
      starts("spec.recipe.repositories[0].suites: Req"),
    ]);
    expect(wrong({ ...fedora, repositories: [{ ...repository, suites: ["x"] }] })).toEqual([
      starts("spec.recipe.repositories[0].suites: Forbidden"),
    ]);
    const mirror = { uri: "http://mirror.example", key: "abc" };
    expect(wrong({ ...fedora, mirror, packages: ["kernel-core", "kernel-tools"] })).toEqual([
      starts("spec.recipe.mirror.key: Invalid value: the key is no public key"),
      starts("spec.recipe.packages[0]: "),
    ]);
  });
});

describe("a key", () => {
  it("is a public one, whole and in armor", () => {
    expect(keyProblem(KEY)).toBeUndefined();
    expect(keyProblem(KEY.replaceAll("\n", "\r\n"))).toBeUndefined();
    expect(keyProblem(KEY.replaceAll("PUBLIC", "PRIVATE"))).toMatch(/private key/);
    expect(keyProblem(KEY.replace(/^mDME/m, "mDMF"))).toMatch(/checksum/);
    expect(keyProblem(KEY.replace(/^mDME/m, "m?ME"))).toMatch(/base64/);
    expect(keyProblem(KEY.replace("-----END PGP PUBLIC KEY BLOCK-----", ""))).toMatch(/ASCII armor/);
    // A packet of user data in its place, and no checksum.
    expect(keyProblem(KEY.replace(/^mDME/m, "tDME").replace(/^=.*\n/m, ""))).toMatch(/something else/);
  });
  it("stands in apt's file, whose empty lines are dots", () => {
    const text = deb822({ uri: "http://x/", suites: ["a", "b"], components: ["main"], key: KEY });
    expect(text).toContain("\nURIs: http://x/\nSuites: a b\nComponents: main\n");
    expect(text).toContain("\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME");
    expect(text).not.toMatch(/\n\n/);
  });
});

describe("users", () => {
  const accounts = () => ({
    passwd: [
      ["root", "x", "0", "0", "root", "/root", "/bin/bash"],
      ["first", "x", "1000", "1000", "", "/home/first", "/bin/sh"],
    ],
    group: [
      ["root", "x", "0", ""],
      ["sudo", "x", "27", "first"],
      ["first", "x", "1000", ""],
    ],
    shadow: [["root", "*", "19000", "0", "99999", "7", "", "", ""]],
    gshadow: [["sudo", "*", "", "first"]],
  });
  it("get numbers that are free, groups, passwords and shells", () => {
    const them = accounts();
    const made = withUsers(them, [
      { name: "ada", groups: ["sudo"], passwordHash: "$6$a$b", shell: "/bin/bash" },
      { name: "bob" },
      { name: "root", passwordHash: "$6$c$d" },
    ]);
    expect(made.map(({ name, uid, home }) => [name, uid, home])).toEqual([
      ["ada", 1001, "/home/ada"],
      ["bob", 1002, "/home/bob"],
      ["root", 0, "/root"],
    ]);
    expect(them.passwd.map((fields) => fields.join(":"))).toContain("ada:x:1001:1001::/home/ada:/bin/bash");
    expect(them.group.find(([name]) => name === "sudo")?.[3]).toBe("first,ada");
    expect(them.gshadow.find(([name]) => name === "sudo")?.[3]).toBe("first,ada");
    expect(them.shadow.map(([name, secret]) => [name, secret])).toEqual([
      ["root", "$6$c$d"],
      ["ada", "$6$a$b"],
      ["bob", "*"],
    ]);
  });
  it("have groups and shells that are in the image", () => {
    expect(() => withUsers(accounts(), [{ name: "ada", groups: ["sudo", "dokcer"] }])).toThrow(
      /^recipe\.users\[0\]\.groups\[1\]: the image has no group dokcer; it has root, sudo, first/,
    );
    expect(() => withUsers(accounts(), [{ name: "ada", shell: "/bin/fish" }], () => false)).toThrow(
      /^recipe\.users\[0\]\.shell: the image has no \/bin\/fish/,
    );
  });
});
