/** Names of packages, as the real apt takes them. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { Packages } from "./packages.ts";

describe("a package's name", () => {
  const packages = new Packages(CACHE, "bookworm");
  it.each([
    ["busybox-static-", 'there is no package "busybox-static-"; did you mean "busybox-static"'],
    ["busybox-stati.+", 'there is no package "busybox-stati.+"'],
    ["netbase+", 'there is no package "netbase+"; did you mean "netbase"'],
  ])("is never more than a name for apt: %s", async (name, message) => {
    await expect(packages.fetch(["busybox-static", name])).rejects.toThrow(message);
  });

  it("may end as apt's signs do", async () => {
    const names = (await packages.resolve(["libstdc++6"])).map(({ name }) => name);
    expect(names).toContain("libstdc++6");
  });
});

it("Packages that cannot be together are told with what is between them", async () => {
  const whole = new Packages(CACHE, "bookworm", undefined, { whole: true });
  await expect(
    whole.fetch(["netbase", "exim4", "postfix"], [], ["systemd-sysv", "usr-is-merged"]),
  ).rejects.toThrow(
    "the packages cannot be installed together: exim4 (recipe.packages[1]) needs exim4-config, which conflicts with postfix (recipe.packages[2])",
  );
}, 120_000);

it("A plan that is damaged is made anew", async () => {
  const packages = new Packages(CACHE, "bookworm");
  const plan = await packages.plan(["libstdc++6", "netbase"]);
  const folder = join(CACHE, "apt-bookworm", "plans");
  const text = JSON.stringify(plan);
  const [kept = ""] = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => readFileSync(path, "utf8") === text);
  writeFileSync(kept, "");
  expect(await packages.plan(["libstdc++6", "netbase"])).toEqual(plan);
});
