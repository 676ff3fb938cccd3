/** The lockfile installs with every npm: newer ones refuse a lockfile that lacks packages of other platforms. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";

interface Locked {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

it.each(["package-lock.json", "web/package-lock.json"])(
  "%s holds every package that a package of it names",
  (name) => {
    const file = resolve(import.meta.dirname, "../..", name);
    const { packages } = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, Locked> };
    const missing = Object.entries(packages).flatMap(([path, locked]) =>
      Object.keys({ ...locked.dependencies, ...locked.optionalDependencies })
        .filter((name) => !packages[`${path}/node_modules/${name}`] && !packages[`node_modules/${name}`])
        .map((name) => `${name}, which ${path || "vireo"} depends on`),
    );
    expect(missing).toEqual([]);
  },
);
