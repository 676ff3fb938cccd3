/**
 * One appliance in all formats, built twice of one lock, in different folders and without anything that builds keep: each file is the same bit for bit, has in it what it says when other
 * programs read it, and is started by QEMU with the hardware of its hypervisor. Bundles whose disk is, byte for byte, one that is started are not started once more.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { sha256Of } from "../../system/digest.ts";
import { run } from "../../system/run.ts";
import { buildImage } from "../build/builder.ts";
import { fetchPackages, lockOf } from "../build/fetch.ts";
import type { BuiltImage } from "../kinds.ts";
import { FORMATS, type Format, type Recipe } from "../recipe.ts";
import { answers } from "../testing/answers.ts";
import { hypervisorProfiles, PROFILE_FORMATS } from "../testing/hypervisors.ts";

const RECIPE: Recipe = {
  ...{ distribution: "debian", release: "bookworm", packages: [], kernel: "generic" },
  ...{ boot: "both", root: "ram", minimize: true, guestAgent: false },
  formats: [...FORMATS],
  services: [{ name: "http", command: "busybox httpd -f -p 80 -h /srv/www" }],
  files: [{ path: "/srv/www/index.html", content: "everywhere\n" }],
};
const NAME = "all";
/** On two cores; more would only wait for each other. */
const BOOTED_AT_ONCE = 2;
/** Of ten seconds on a machine that does nothing else. */
const BOOT_MS = 280_000;

let folder: string;
const built: BuiltImage[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-formats-"));
  const { inRoot, apart } = await fetchPackages(CACHE, RECIPE, { signal: undefined, warn: () => {} });
  const recipe = { ...RECIPE, lock: [...inRoot, ...apart].map(lockOf) };
  for (const where of ["here", "there"]) {
    const [at, layers] = [join(folder, where), join(folder, `layers-${where}`)];
    built.push(
      await buildImage({ name: NAME, recipe, folder: at, cache: CACHE, layers, progress: () => {} }),
    );
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fileOf = (format: Format, where = "here") =>
  join(folder, where, built[0]?.artifacts?.find((each) => each.format === format)?.file ?? "");
const qemuImg = (...args: string[]) => run("qemu-img", args, { timeoutMs: 60_000 });

/** Unpacks a bundle. @returns the folder that its files are in, and their names in their order */
async function unpacked(format: Format): Promise<{ at: string; names: string[] }> {
  const at = join(folder, `of-${format}`);
  mkdirSync(at, { recursive: true });
  const listed = await run("tar", ["-C", at, "-xvf", fileOf(format)]);
  return { at, names: listed.trim().split("\n") };
}
const textOf = (path: string, encoding: BufferEncoding = "utf8") => readFileSync(path).toString(encoding);
const found = (text: string, pattern: RegExp) => pattern.exec(text)?.[1];

it("has the same sha256 for every format when it is built twice", async () => {
  const [here, there] = built;
  const formats = here?.artifacts?.map(({ format }) => format) ?? [];
  expect(formats).toEqual(expect.arrayContaining([...FORMATS]));
  expect(there).toEqual(here);
  for (const { format, file, sha256 } of here?.artifacts ?? [])
    for (const where of ["here", "there"])
      expect(await sha256Of(join(folder, where, file)), `${format}, ${where}`).toBe(sha256);
});

describe("read again by other programs", () => {
  /** By QEMU's names of them; and whether it can check more than what is in them. */
  const DISKS: Partial<Record<Format, [driver: string, checked: boolean]>> = {
    qcow2: ["qcow2", true],
    vmdk: ["vmdk", true],
    "vmdk-stream": ["vmdk", true],
    vhd: ["vpc", false],
    "vhd-fixed": ["vpc", false],
    vhdx: ["vhdx", true],
    vdi: ["vdi", true],
  };
  it.each(Object.entries(DISKS))("%s has the same disk in it", async (format, [driver, checked]) => {
    const file = fileOf(format as Format); // a key of DISKS
    await qemuImg("compare", "-q", "-f", "raw", "-F", driver, fileOf("raw"), file);
    if (checked) await qemuImg("check", "-q", "-f", driver, file);
  });

  it("raw is the disk of Vireo's own machines", async () => {
    const own = join(folder, "here", built[0]?.file ?? "");
    await qemuImg("compare", "-q", "-f", "raw", "-F", "qcow2", fileOf("raw"), own);
    expect(statSync(fileOf("raw")).size).toBe(built[0]?.virtualBytes);
  });

  it("ova: description, digests and disk, in this order, and of these bytes", async () => {
    const { at, names } = await unpacked("ova");
    expect(names).toEqual([`${NAME}.ovf`, `${NAME}.mf`, `${NAME}-disk1.vmdk`]);
    const [ovf = "", mf = "", vmdk = ""] = names.map((name) => join(at, name));
    const description = textOf(ovf);
    expect(found(description, /ovf:href="([^"]*)"/)).toBe(names[2]);
    expect(found(description, /ovf:size="(\d+)"/)).toBe(`${statSync(vmdk).size}`);
    expect(found(description, /ovf:capacity="(\d+)"/)).toBe(`${built[0]?.virtualBytes}`);
    expect(textOf(mf).trim().split("\n")).toEqual([
      `SHA256(${names[0]})= ${await sha256Of(ovf)}`,
      `SHA256(${names[2]})= ${await sha256Of(vmdk)}`,
    ]);
    expect(await sha256Of(vmdk)).toBe(await sha256Of(fileOf("vmdk-stream")));
  });

  it("parallels: a bundle of the disk and its description", async () => {
    const { at, names } = await unpacked("parallels");
    const inside = `${NAME}.hdd`;
    expect(names).toEqual([`${inside}/DiskDescriptor.xml`, `${inside}/${NAME}.hds`]);
    const description = textOf(join(at, inside, "DiskDescriptor.xml"));
    const hds = join(at, inside, found(description, /<File>(.*)<\/File>/) ?? "");
    expect(found(description, /<Disk_size>(\d+)</)).toBe(`${(built[0]?.virtualBytes ?? 0) / 512}`);
    await qemuImg("check", "-q", "-f", "parallels", hds);
    await qemuImg("compare", "-q", "-f", "raw", "-F", "parallels", fileOf("raw"), hds);
  });

  it("virtual-pc: settings that name the VHD beside them", async () => {
    const { at, names } = await unpacked("virtual-pc");
    expect(names).toEqual([`${NAME}.vmc`, `${NAME}.vhd`]);
    const settings = textOf(join(at, `${NAME}.vmc`), "utf16le");
    expect(settings).toMatch(/^\ufeff<\?xml version="1.0" encoding="UTF-16"\?>\r\n/);
    const vhd = join(at, found(settings, /<relative type="string">(.*)<\/relative>/) ?? "");
    expect(await sha256Of(vhd)).toBe(await sha256Of(fileOf("vhd")));
  });

  it("virtual-iron: the VHD in an archive", async () => {
    const { at, names } = await unpacked("virtual-iron");
    expect(names).toEqual([`${NAME}.vhd`]);
    expect(await sha256Of(join(at, `${NAME}.vhd`))).toBe(await sha256Of(fileOf("vhd")));
  });

  it("xen: xl's configuration with the disk, kernel and initial RAM disk that it names", async () => {
    const [{ at }, pxe] = [await unpacked("xen"), await unpacked("pxe")];
    const config = textOf(join(at, `${NAME}.cfg`));
    const value = (key: string) => found(config, new RegExp(`^${key} = "(.*)"$`, "m"));
    expect(value("type")).toBe("pvh");
    expect(value("cmdline")).toMatch(/^console=tty0 console=hvc0 /);
    const disk = join(at, found(config, /target=([^" ]*)/) ?? "");
    expect(await sha256Of(disk)).toBe(await sha256Of(fileOf("raw")));
    for (const [key, file] of [
      ["kernel", "vmlinuz"],
      ["ramdisk", "initrd"],
    ] as const)
      expect(await sha256Of(join(at, value(key) ?? "")), key).toBe(await sha256Of(join(pxe.at, file)));
    const menu = textOf(join(pxe.at, "pxelinux.cfg/default"));
    expect(menu).toMatch(/ KERNEL vmlinuz\n INITRD initrd\n APPEND console=tty0 console=ttyS0 /);
    expect(textOf(join(pxe.at, "boot.ipxe"))).toMatch(/^#!ipxe\nkernel vmlinuz initrd=initrd /);
  });

  it("ami: a raw disk with what EC2's importer is given for it", async () => {
    const { at, names } = await unpacked("ami");
    expect(names).toEqual(["import-snapshot.json", "register-image.json", `${NAME}.raw`]);
    const [snapshot, image] = names.slice(0, 2).map((name) => JSON.parse(textOf(join(at, name))));
    const { Format, UserBucket } = snapshot.DiskContainer;
    expect(Format).toBe("RAW");
    expect(await sha256Of(join(at, UserBucket.S3Key))).toBe(await sha256Of(fileOf("raw")));
    expect(image).toMatchObject({ Architecture: "x86_64", BootMode: "uefi-preferred" });
    const [{ DeviceName, Ebs }] = image.BlockDeviceMappings;
    expect(DeviceName).toBe(image.RootDeviceName);
    expect(Ebs.VolumeSize * 2 ** 30).toBeGreaterThanOrEqual(built[0]?.virtualBytes ?? Number.NaN);
  });

  it("oci: an image layout whose blobs are what they are called, with the disk in its layer", async () => {
    const { at } = await unpacked("oci");
    const blob = async ({ digest, size }: { digest: string; size: number }) => {
      const path = join(at, "blobs", digest.replace(":", "/"));
      expect({ digest: `sha256:${await sha256Of(path)}`, size: statSync(path).size }).toEqual({
        digest,
        size,
      });
      return path;
    };
    expect(JSON.parse(textOf(join(at, "oci-layout")))).toEqual({ imageLayoutVersion: "1.0.0" });
    const index = JSON.parse(textOf(join(at, "index.json")));
    const manifest = JSON.parse(textOf(await blob(index.manifests[0])));
    const config = JSON.parse(textOf(await blob(manifest.config)));
    expect(config.rootfs.diff_ids).toEqual([manifest.layers[0].digest]);
    await run("tar", ["-C", at, "-xf", await blob(manifest.layers[0])]);
    expect(await sha256Of(join(at, `disk/${NAME}.qcow2`))).toBe(await sha256Of(fileOf("qcow2")));
  });

  it("iso: a CD that BIOS and UEFI start, with the kernel and initial RAM disk", async () => {
    const catalogue = await run("xorriso", ["-indev", fileOf("iso"), "-report_el_torito", "plain"]);
    expect(catalogue.match(/^El Torito boot img : +\d+ +(BIOS|UEFI) +y/gm)).toHaveLength(2);
    const { at } = await unpacked("pxe");
    for (const name of ["vmlinuz", "initrd"]) {
      const copy = join(folder, `cd-${name}`);
      await run("xorriso", ["-osirrox", "on", "-indev", fileOf("iso"), "-extract", `/${name}`, copy]);
      expect(await sha256Of(copy)).toBe(await sha256Of(join(at, name)));
    }
  });
});

it("is started by QEMU from each, on the controllers and network cards of its hypervisor", async () => {
  const at = join(folder, "booted");
  mkdirSync(at);
  const { disks, others } = await hypervisorProfiles(at, NAME, fileOf);
  const todo = [...disks, ...others];
  expect(new Set(todo.map(({ format }) => format))).toEqual(new Set(PROFILE_FORMATS));
  const silent: string[] = [];
  const boot = async () => {
    for (let profile = todo.shift(); profile; profile = todo.shift()) {
      const { name, nic, args } = profile;
      const serial = join(at, `${name.replace(/\W+/g, "-")}.log`);
      const seconds = await answers(args, { memoryMiB: 256, nic, limitMs: BOOT_MS, serial });
      if (Number.isNaN(seconds)) silent.push(`${name}; it said: ${textOf(serial).slice(-500)}`);
    }
  };
  await Promise.all(Array.from({ length: BOOTED_AT_ONCE }, boot));
  expect(silent).toEqual([]);
}, 900_000);
