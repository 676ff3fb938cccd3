/** Each against a user who swaps a folder of his and a link, all the time. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { giveTree, removeTree } from "./others-folders.ts";

const isRoot = process.getuid?.() === 0;
const OLD = { uid: 200_001, gid: 200_000 };
const NEW = { uid: 200_002, gid: 200_000 };
const THIRD = { uid: 200_003, gid: 200_000 };
const ROUNDS = 10;

/** renameat2 with RENAME_EXCHANGE; x86-64. */
const SWAP = `
  my ($one, $other) = @ARGV;
  $| = 1; print "ready";
  while (1) { syscall(316, -100, $one, -100, $other, 2) }`;

let top: string;
let swapper: ChildProcess | undefined;
const at = (...names: string[]) => join(top, ...names);

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "vireo-others-"));
});
afterEach(async () => {
  await stop();
  rmSync(top, { recursive: true });
});

async function swap(one: string, other: string) {
  swapper = spawn("perl", ["-e", SWAP, one, other], { stdio: ["ignore", "pipe", "ignore"] });
  await new Promise((resolve) => swapper?.stdout?.once("data", resolve));
}

async function stop() {
  if (!swapper) return;
  const ended = new Promise((resolve) => swapper?.once("exit", resolve));
  swapper.kill("SIGKILL");
  await ended;
  swapper = undefined;
}

/** own/d with files, and own/link to a folder of somebody else's; both are swapped. */
async function attack(names: readonly string[]) {
  mkdirSync(at("other"));
  mkdirSync(at("own/d"), { recursive: true });
  for (const name of names) {
    for (const path of [at("other", name), at("own/d", name)]) writeFileSync(path, "");
    if (!isRoot) continue;
    chownSync(at("other", name), THIRD.uid, THIRD.gid);
    chownSync(at("own/d", name), OLD.uid, OLD.gid);
  }
  symlinkSync(at("other"), at("own/link"));
  await swap(at("own/d"), at("own/link"));
}
const NAMES = Array.from({ length: 50 }, (_, i) => String(i));

it("nothing is removed but what is in the folder, whatever it becomes meanwhile", async () => {
  for (let round = 0; round < ROUNDS; round++) {
    await attack(NAMES);
    // What is swapped just then may not be found; once nobody does it all goes.
    await removeTree(at("own")).catch(() => undefined);
    await stop();
    await removeTree(at("own"));
    expect(existsSync(at("own"))).toBe(false);
    expect(NAMES.filter((name) => !existsSync(at("other", name)))).toEqual([]);
    rmSync(at("other"), { recursive: true });
  }
});

it("what is gone is no error", async () => {
  await expect(removeTree(at("none"))).resolves.toBeUndefined();
});

describe.runIf(isRoot)("a folder that is given to another user", () => {
  it("is given with all of it, but for what is root's, and the file that tells of the end", async () => {
    mkdirSync(at("own/d"), { recursive: true });
    for (const name of ["a", "d/b", "disk", "root's"]) writeFileSync(at("own", name), "");
    for (const name of ["a", "d", "d/b", "disk"]) chownSync(at("own", name), OLD.uid, OLD.gid);
    writeFileSync(at("other"), "");
    chownSync(at("other"), THIRD.uid, THIRD.gid);
    symlinkSync(at("other"), at("own/d/link"));
    lchownSync(at("own/d/link"), OLD.uid, OLD.gid);
    await giveTree(at("own"), NEW, at("own/disk"));
    for (const name of ["a", "d", "d/b", "d/link"])
      expect(lstatSync(at("own", name)), name).toMatchObject(NEW);
    expect(statSync(at("own/disk"))).toMatchObject(OLD);
    expect(statSync(at("own/root's")).uid).toBe(0);
    expect(statSync(at("own")).uid).toBe(0);
    expect(statSync(at("other"))).toMatchObject(THIRD);
  });

  it("takes nothing of others along, whatever it becomes meanwhile", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await attack(NAMES);
      writeFileSync(at("own/disk"), "");
      await giveTree(at("own"), NEW, at("own/disk")).catch(() => undefined);
      await stop();
      expect(NAMES.filter((name) => statSync(at("other", name)).uid !== THIRD.uid)).toEqual([]);
      for (const folder of ["other", "own"]) rmSync(at(folder), { recursive: true });
    }
  });
});
