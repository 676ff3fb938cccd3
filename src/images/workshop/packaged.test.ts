/** Programs of strangers' packages: what they get of this machine, as root and as another user, and where there are no namespaces. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Recipe } from "../recipe.ts";
import { requirePackaged, runPackaged } from "./packaged.ts";

let folder = "";
const at = (...names: string[]) => join(folder, ...names);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-packaged-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const OWN: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
const FIELDS: [string, Recipe][] = [
  ["recipe.repositories", { ...OWN, repositories: [{ uri: "http://a", suites: ["./"], key: "" }] }],
  ["recipe.mirror.key", { ...OWN, mirror: { uri: "http://a", key: "k" } }],
];

it.each([0, 1000])(
  "where there are no namespaces, user %i builds from the distribution's own packages alone",
  async (uid) => {
    vi.spyOn(process, "getuid").mockReturnValue(uid);
    mkdirSync(at("none"));
    vi.stubEnv("PATH", at("none"));
    for (const [field, recipe] of FIELDS)
      await expect(requirePackaged(recipe, at("images"))).rejects.toThrow(
        `${field}: programs of its packages (busybox, localedef, syslinux) run while`,
      );
    expect(await requirePackaged(OWN, at("images"))).toBe(true);
    expect(readdirSync(at("images"))).toEqual([]);
  },
);

/** Tells what it finds in a file. */
function looks(): { tree: string; said: string; command: string[]; writes: string[] } {
  const said = at("said");
  mkdirSync(at("tree"));
  writeFileSync(at("secret"), "SECRET");
  writeFileSync(said, "");
  writeFileSync(
    at("tree/look"),
    `#!/bin/sh\n(env; cat ${at("secret")} /proc/self/status) > ${said} 2>&1 || true\n`,
  );
  chmodSync(at("tree/look"), 0o755);
  return { tree: at("tree"), said, command: [at("tree/look")], writes: [said] };
}
const work = () => ({ folder, cache: at("cache"), log: () => {} });

it("where they run as they are, they have nothing of the control plane's environment", async () => {
  vi.stubEnv("VIREO_SECRET", "hidden");
  const { said, command, ...files } = looks();
  const env = { SOURCE_DATE_EPOCH: "7" };
  await runPackaged({ ...work(), unsealed: true }, command, { ...files, fileBytes: 2 ** 20, env });
  const names = [...readFileSync(said, "utf8").matchAll(/^(\w+)=/gm)].map(([, name]) => name);
  expect(names).toContain("SOURCE_DATE_EPOCH");
  const known = ["HOME", "PATH", "TMPDIR", "SOURCE_DATE_EPOCH", "PWD", "OLDPWD", "SHLVL", "_"];
  expect(names.filter((name) => !known.includes(name ?? ""))).toEqual([]);
});

// As root both can be tried: another user's namespaces are in one of users.
it.runIf(process.getuid?.() === 0).each([0, 1000])(
  "run for user %i, they have no rights and see no files of others",
  async (uid) => {
    vi.spyOn(process, "getuid").mockReturnValue(uid);
    expect(await requirePackaged(FIELDS[0]?.[1] ?? OWN, at("images"))).toBe(false);
    const { said, command, ...files } = looks();
    await runPackaged(work(), command, { ...files, fileBytes: 2 ** 20 });
    const found = readFileSync(said, "utf8");
    expect(found).toContain("No such file");
    expect(found).not.toContain("SECRET");
    expect(found).toMatch(/^CapEff:\s+0+$/m);
    expect(found).toMatch(/^CapBnd:\s+0+$/m);
  },
);

it.runIf(process.getuid?.() === 0).each([true, false])(
  "no file that they write grows without bound (unsealed: %s)",
  async (unsealed) => {
    const list = at("list");
    mkdirSync(at("tree"));
    writeFileSync(list, "");
    const command = ["sh", "-ec", 'yes > "$1"', "sh", list];
    const files = { tree: at("tree"), writes: [list], fileBytes: 10_000 };
    await expect(runPackaged({ ...work(), unsealed }, command, files)).rejects.toThrow(
      /file.* (too large|size limit)|SIGXFSZ|153/i,
    );
    expect(statSync(list).size).toBeLessThanOrEqual(10_000);
  },
);
