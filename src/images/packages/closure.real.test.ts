/** The picker's packages against apt's own answer, by the real lists. All 50 selections: bench/picker.ts. */
import { afterAll, describe, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { fullPackages } from "../full/full-root.ts";
import { PackageIndex } from "./package-index.ts";
import { Packages } from "./packages.ts";

describe("a picker's closure", () => {
  const index = new PackageIndex(CACHE, "bookworm");
  const packages = new Packages(CACHE, "bookworm");
  afterAll(() => index.close());

  it.each([
    ["nginx-light"],
    ["postgresql"],
    ["apache2", "php-fpm"],
    ["xfce4"],
    ["rabbitmq-server", "redis-server"],
  ])("is apt's: %s %s", async (...names) => {
    const chosen = names.filter((name): name is string => typeof name === "string");
    const ours = await index.closure(chosen, "slim");
    expect(ours.conflicts).toEqual([]);
    const theirs = await packages.resolve(chosen);
    const named = (all: readonly { name: string; version: string }[]) =>
      all.map(({ name, version }) => `${name}=${version}`).sort();
    expect(named(ours.packages)).toEqual(named(theirs));
  });

  it("says why what apt refuses cannot be", async () => {
    const chosen = ["exim4", "postfix"];
    await expect(packages.resolve(chosen)).rejects.toThrow("cannot be installed together");
    expect((await index.closure(chosen, "slim")).conflicts.length).toBeGreaterThan(0);
  });

  it("of a whole system has what is essential, and is apt's", async () => {
    const chosen = [...fullPackages({ distribution: "debian", release: "bookworm", packages: [] }), "nginx"];
    const { packages: ours } = await index.closure(chosen, "full");
    expect(ours.map(({ name }) => name)).toEqual(expect.arrayContaining(["dpkg", "bash", "libc6"]));
    const theirs = await new Packages(CACHE, "bookworm", undefined, { whole: true }).resolve(chosen);
    expect(ours.map(({ name }) => name).sort()).toEqual(theirs.map(({ name }) => name).sort());
  });

  it("of a whole system says that its init is in the way of another", async () => {
    const base = fullPackages({ distribution: "debian", release: "bookworm", packages: [] });
    const { conflicts } = await index.closure([...base, "sysvinit-core"], "full");
    const pairs = conflicts.map((each) => [each.package, each.with].sort());
    expect(pairs).toContainEqual(["systemd-sysv", "sysvinit-core"]);
  });

  it("finds packages and names near wrong ones", async () => {
    const { items, total } = await index.search("nginx", { limit: 3, offset: 0 });
    expect(items[0]).toMatchObject({ name: "nginx", section: "httpd" });
    expect(total).toBeGreaterThan(items.length);
    expect(await index.nearest("nginx-ligth")).toEqual(["nginx-light"]);
  });
});
