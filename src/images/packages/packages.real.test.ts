/** Names of packages, as the real apt takes them. */
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
