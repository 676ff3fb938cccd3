/** A real enclosure, made as root. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { enclose, SCRATCH_BYTES } from "./enclosure.ts";
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

it("what is written for a moment is the user's own, in memory, and no more than so much, in no more than so many files", async () => {
  const inside = join(folder, "scratch");
  const scratch = join(inside, "p");
  mkdirSync(inside);
  const reach = { writable: [inside], readable: [], devices: [], scratch };
  const [command = "", ...args] = enclose(inside, reach, { uid: 200_001, gid: 200_000 });
  const fill =
    'cd "$1"; head -c 65M /dev/urandom >all 2>/dev/null; wc -c <all; rm all; i=0; while : >$i; do i=$((i+1)); done 2>/dev/null; ls | wc -l';
  const said = await run(command, [...args, "bash", "-c", fill, "bash", scratch]);
  const [bytes, files] = said.trim().split("\n").map(Number);
  expect(bytes).toBe(SCRATCH_BYTES);
  expect(files).toBeLessThan(100);
  expect(readdirSync(scratch)).toEqual([]);
  expect(statSync(scratch).uid).toBe(0);
});
