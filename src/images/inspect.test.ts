/** Image files that lie in the pool: what they are, by their own bytes. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { inspectImage } from "./inspect.ts";

let folder = "";
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-inspect-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** @param text at its beginning */
function raw(name: string, text = ""): void {
  const bytes = Buffer.alloc(2 ** 20);
  bytes.write(text, "latin1");
  bytes.set([0x55, 0xaa], 510);
  writeFileSync(at(name), bytes);
}
const qcow2 = (name: string, ...args: string[]) =>
  execFileSync("qemu-img", ["create", "-q", "-u", "-f", "qcow2", ...args, at(name), "3M"]);
const look = (name: string) => inspectImage(folder, name);

it("a disk has its format and size", async () => {
  raw("disk.img");
  expect(await look("disk.img")).toMatchObject({ format: "raw", virtualBytes: 2 ** 20 });
  qcow2("disk.qcow2");
  expect(await look("disk.qcow2")).toMatchObject({ format: "qcow2", virtualBytes: 3 * 2 ** 20 });
  expect((await look("disk.qcow2")).sha256).toMatch(/^[0-9a-f]{64}$/);
});

it("a raw disk that begins as a qcow2 is that qcow2, and what it names is not followed", async () => {
  qcow2("base.qcow2", "-b", "/etc/hostname", "-F", "raw");
  const made = execFileSync("head", ["-c", "65536", at("base.qcow2")]);
  raw("disk.img", made.toString("latin1"));
  await expect(look("disk.img")).rejects.toThrow(
    /^disk\.img: needs another file below it, the backing file "\/etc\/hostname"; flatten it/,
  );
  qcow2("data.qcow2", "-o", `data_file=${at("data.raw")}`);
  await expect(look("data.qcow2")).rejects.toThrow(/^data\.qcow2: keeps its data in another file/);
});

it("whether another file is there is not told, of a disk that names it", async () => {
  const why = async (extent: string) => {
    writeFileSync(
      at("disk.vmdk"),
      `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "${extent}" 0\nddb.geometry.cylinders = "1"\nddb.geometry.heads = "16"\nddb.geometry.sectors = "63"\nddb.adapterType = "ide"\n`,
    );
    return look("disk.vmdk").catch(String);
  };
  expect(await why("/etc/passwd")).toMatch(/is the description of a VMDK whose data is in other files/);
  expect(await why("/nosuch")).toBe(await why("/etc/passwd"));
});

it("is refused when it is no disk, not all there, packed, or elsewhere", async () => {
  writeFileSync(at("text.img"), "this is not a disk\n".repeat(100));
  await expect(look("text.img")).rejects.toThrow("text.img: is no disk");
  qcow2("part.qcow2");
  truncateSync(at("part.qcow2"), 4096);
  await expect(look("part.qcow2")).rejects.toThrow(
    "part.qcow2: is a damaged qcow2, or not all of it is there",
  );
  raw("disk.img");
  execFileSync("gzip", ["-k", at("disk.img")]);
  await expect(look("disk.img.gz")).rejects.toThrow("disk.img.gz: is packed (gzip); vireo image import");
  symlinkSync("/etc/passwd", at("link.img"));
  await expect(look("link.img")).rejects.toThrow("link.img: is a link to a file outside the storage pool");
  execFileSync("mkfifo", [at("pipe")]);
  symlinkSync("pipe", at("pipe.img"));
  await expect(look("pipe.img")).rejects.toThrow("pipe.img: is not a regular file");
  await expect(look("gone.img")).rejects.toThrow("gone.img: there is no such file");
});
