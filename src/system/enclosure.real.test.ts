/** A real enclosure, made as root. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { enclose } from "./enclosure.ts";
import { run } from "./run.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-enclosure-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("shows what it was given and no other file, also when the programs of PATH are out of sight in there", async () => {
  const programs = join(folder, "bin");
  mkdirSync(programs);
  for (const name of readdirSync("/usr/bin")) symlinkSync(join("/usr/bin", name), join(programs, name));
  const [given, kept] = [join(folder, "given"), join(folder, "kept")];
  for (const path of [given, kept]) writeFileSync(path, `${path}\n`);
  const inside = join(folder, "inside");
  mkdirSync(inside);
  const [command = "", ...args] = enclose(inside, { writable: [], readable: [given], devices: [] });
  const said = await run(command, [...args, "sh", "-c", 'cat "$1"; ls "$(dirname "$1")"', "sh", given], {
    env: { PATH: programs },
  });
  expect(said).toBe(`${given}\ngiven\n`);
});
