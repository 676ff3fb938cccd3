/** The small kernel, packed anew, starts from a small disk by BIOS and by UEFI, in little memory; and it is the small one that runs. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { buildImage } from "../build/builder.ts";
import type { BuiltImage } from "../kinds.ts";
import type { Recipe } from "../recipe.ts";
import { answers } from "../testing/answers.ts";

const BUILD_MS = 600_000;
const RECIPE: Recipe = {
  distribution: "debian",
  release: "bookworm",
  packages: [],
  boot: "both",
  root: "ram",
  minimize: true,
  guestAgent: false,
  files: [
    {
      path: "/etc/vireo/web",
      mode: "0755",
      content:
        "#!/bin/sh\nmkdir -p /tmp/www\nuname -r > /tmp/www/index.html\nuname -r\nexec busybox httpd -f -p 80 -h /tmp/www\n",
    },
  ],
  services: [{ name: "web", command: "/etc/vireo/web" }],
};

let folder: string;
let built: BuiltImage;
const at = (name = "") => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-repack-"));
  built = await buildImage({ name: "web", recipe: RECIPE, folder, cache: CACHE, progress: () => {} });
}, BUILD_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const disk = () => ["-drive", `file=${at(built.file)},format=qcow2,if=virtio,snapshot=on`];

it(
  "by BIOS, in 80 MiB, from a disk of less than 13 MB",
  async () => {
    expect(built.allocatedBytes).toBeLessThan(13e6);
    // Both, whose parts are in it.
    const kernels = built.packages?.filter(({ name }) => name.startsWith("linux-image-")) ?? [];
    expect(kernels.map(({ name }) => name.includes("-cloud-")).sort()).toEqual([false, true]);
    const serial = at("bios.log");
    expect(await answers(["-M", "q35", ...disk()], { memoryMiB: 80, serial })).toBeGreaterThan(0);
    expect(readFileSync(serial, "utf8")).toMatch(/^[\d.]+-\d+-cloud-amd64\r?$/m);
  },
  BUILD_MS,
);

it(
  "by UEFI",
  async () => {
    copyFileSync("/usr/share/OVMF/OVMF_VARS_4M.fd", at("vars.fd"));
    const firmware = [
      ...["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
      ...["-drive", `if=pflash,format=raw,file=${at("vars.fd")}`],
    ];
    const serial = at("uefi.log");
    expect(await answers(["-M", "q35", ...firmware, ...disk()], { memoryMiB: 192, serial })).toBeGreaterThan(
      0,
    );
    expect(readFileSync(serial, "utf8")).toMatch(/^[\d.]+-\d+-cloud-amd64\r?$/m);
  },
  BUILD_MS,
);
