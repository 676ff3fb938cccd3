/** `vireo image analyze URL`, as users call it: an archive and a program from a web server become recipes with their packages. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse } from "yaml";
import { ROOT } from "../../cli/paths.ts";
import { outcomeOf } from "../../system/run.ts";
import { serveFolder } from "../testing/serve-folder.ts";

const ANALYZE_MS = 240_000;
let folder: string;
let served: Awaited<ReturnType<typeof serveFolder>>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-url-"));
  mkdirSync(join(folder, "served"));
  served = await serveFolder(join(folder, "served"));
});
afterAll(() => {
  served.close();
  rmSync(folder, { recursive: true, force: true });
});

const analyze = (...args: string[]) =>
  outcomeOf(process.execPath, [join(ROOT, "src/cli/main.ts"), "image", "analyze", ...args], {
    timeoutMs: ANALYZE_MS,
  });

it("of an archive: what is in it is looked at, and goes along", async () => {
  const shop = join(folder, "shop");
  mkdirSync(shop);
  writeFileSync(join(shop, "serve"), "#!/usr/bin/python3\nimport yaml\n", { mode: 0o755 });
  execFileSync("tar", ["-C", folder, "-czf", join(folder, "served/shop-1.0.tar.gz"), "shop"]);
  const output = join(folder, "shop.yaml");
  const { ok, said } = await analyze(`${served.uri}/shop-1.0.tar.gz`, "-o", output);
  expect(ok, said).toBe(true);
  expect(said).toMatch(/^python3-yaml +certain +.*import yaml/m);
  const recipe = parse(readFileSync(output, "utf8"));
  expect(recipe.packages).toContain("python3-yaml");
  expect(recipe.files).toMatchObject([{ path: "/opt/shop-1.0/shop/serve", mode: "0755" }]);
});

it("of a program: its libraries are found, and it can be started in the image", async () => {
  copyFileSync("/usr/bin/xz", join(folder, "served/pack"));
  const output = join(folder, "pack.yaml");
  const { ok, said } = await analyze(`${served.uri}/pack?version=1`, "-o", output, "--evidence");
  expect(ok, said).toBe(true);
  expect(said).toMatch(/^liblzma5 +certain +pack: linked liblzma\.so\.5/m);
  const recipe = parse(readFileSync(output, "utf8"));
  expect(recipe.packages).toEqual(["liblzma5"]);
  expect(recipe.files).toMatchObject([{ path: "/opt/pack", mode: "0755" }]);
});

it("that leads to nothing is told", async () => {
  const none = `${served.uri}/none.tar.gz`;
  const { ok, said } = await analyze(none);
  expect({ ok, said }).toEqual({ ok: false, said: `vireo: ${none}: the server answered 404 Not Found\n` });
});
