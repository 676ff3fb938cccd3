/** Archives of applications: all that is in them is looked at, or it is an error. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readApplication } from "./application.ts";
import { locate } from "./source.ts";
import { zipOf } from "./testing/zip.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-source-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (name: string, content: Buffer) => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

it("large files of ZIPs come out as small ones do", async () => {
  const large = Buffer.alloc(17 * 2 ** 20, "large ");
  const zip = at("app.whl", zipOf({ "libs/libopenblas.so": large, "app.py": Buffer.from("import os\n") }));
  const unpacked = await locate(zip, folder);
  expect(readFileSync(join(unpacked, "libs/libopenblas.so")).equals(large)).toBe(true);
  const app = await readApplication(unpacked);
  expect(app.hasLibrary("libopenblas.so")).toBe(true);
});

it("what cannot be unpacked is an error, with its name", async () => {
  const encrypted = zipOf({ secret: Buffer.from("x") });
  encrypted.writeUInt16LE(1, encrypted.indexOf("PK\x01\x02") + 8);
  await expect(locate(at("a.zip", encrypted), folder)).rejects.toThrow(
    /a\.zip: cannot be unpacked: secret in it is damaged, encrypted, /,
  );
  rmSync(join(folder, "unpacked"), { recursive: true });
  await expect(locate(at("b.zip", Buffer.from("no zip")), folder)).rejects.toThrow(
    /b\.zip: cannot be unpacked: has nothing in it/,
  );
});

it("an archive of more than an application has is not unpacked", async () => {
  const zeros = at("zeros", Buffer.alloc(0));
  truncateSync(zeros, 5 * 2 ** 30);
  const tar = join(folder, "bomb.tar");
  execFileSync("tar", ["-C", folder, "--sparse", "-cf", tar, "zeros"]);
  expect(statSync(tar).size).toBeLessThan(2 ** 20);
  await expect(locate(tar, folder)).rejects.toThrow(
    /bomb\.tar: cannot be unpacked: has more than 4294967296 bytes/,
  );
});

it("a package.json that is none, and far too large to be read, is passed over", async () => {
  const file = at("package.json", Buffer.alloc(0));
  truncateSync(file, 2 ** 30);
  expect((await readApplication(folder)).hasNode("x")).toBe(false);
});
