/** What a QEMU that was taken over may leave instead of a picture. */
import {
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { takePicture } from "./picture.ts";

const OWNER = process.getuid?.() === 0 ? 200_001 : (process.getuid?.() ?? 0);
let folder: string;
let secret: string;
let lent: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-picture-"));
  secret = join(folder, "secret");
  lent = join(folder, "p");
  writeFileSync(secret, "root's");
  mkdirSync(lent);
});
afterEach(() => rmSync(folder, { recursive: true }));

const take = (make: (file: string) => void) =>
  takePicture(lent, OWNER, async (name) => make(join(lent, name)));

it("a picture is read, and gone from the folder then", async () => {
  const picture = await take((file) => {
    writeFileSync(file, "PNG");
    if (process.getuid?.() === 0) chownSync(file, OWNER, OWNER);
  });
  expect(picture.toString()).toBe("PNG");
  expect(readdirSync(lent)).toEqual([]);
});

it("no link is followed, and none of what it leads to is removed", async () => {
  await expect(take((file) => symlinkSync(secret, file))).rejects.toThrow("made no picture");
  expect(readdirSync(lent)).toEqual([]);
  expect(readFileSync(secret, "utf8")).toBe("root's");
});

it.runIf(process.getuid?.() === 0)("a file of somebody else's is not read", async () => {
  await expect(take((file) => linkSync(secret, file))).rejects.toThrow("made no picture");
  expect(readFileSync(secret, "utf8")).toBe("root's");
});

// A folder in it may be a link by the time at which what is in it is removed by its path.
it("a folder in its place is not walked into", async () => {
  let at = "";
  const make = (file: string) => {
    mkdirSync(file);
    writeFileSync(join(file, "child"), "");
    at = file;
  };
  await expect(take(make)).rejects.toThrow("made no picture");
  expect(readdirSync(at)).toEqual(["child"]);
});

it("nothing at all is no picture", async () => {
  await expect(take(() => undefined)).rejects.toThrow("made no picture");
});
