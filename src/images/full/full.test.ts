/** Full images without building any: which units there are, and whose files are in them. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linkUnit, putFiles, requireUnit } from "./full-root.ts";

describe("a unit", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "vireo-units-"));
    mkdirSync(join(root, "etc/systemd/system"), { recursive: true });
    mkdirSync(join(root, "usr/lib/systemd/system"), { recursive: true });
    writeFileSync(join(root, "usr/lib/systemd/system/nginx.service"), "");
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  it("that no package brings is told, with what may have been meant", async () => {
    await requireUnit(root, "nginx.service", "recipe.services[0]");
    await expect(requireUnit(root, "ngnix.service", "recipe.services[0]")).rejects.toThrow(
      /^recipe\.services\[0\]: no package brings the unit ngnix\.service; did you mean nginx\?$/,
    );
    await expect(requireUnit(root, "other.service", "recipe.services[1]")).rejects.toThrow(
      /^recipe\.services\[1\]: .*name its package in recipe\.packages/,
    );
  });
});

it("is enabled by what its file says, and no link leads out of the image", async () => {
  const root = mkdtempSync(join(tmpdir(), "vireo-enable-"));
  const outside = mkdtempSync(join(tmpdir(), "vireo-outside-"));
  try {
    const etc = join(root, "etc/systemd/system");
    mkdirSync(etc, { recursive: true });
    symlinkSync(outside, join(etc, "sysinit.target.wants"));
    writeFileSync(
      join(etc, "shop.service"),
      "[Service]\nExecStart=/usr/bin/shop\nWantedBy=no.target\n\n[Install]\nWantedBy=multi-user.target sysinit.target ../../x.target\nAlias=store.service\n[X-Other]\nWantedBy=other.target\n",
    );
    await linkUnit(root, "shop.service");
    for (const path of ["multi-user.target.wants/shop.service", "store.service"])
      expect(readlinkSync(join(etc, path))).toBe("/etc/systemd/system/shop.service");
    expect(readdirSync(outside)).toEqual([]);
    expect(readlinkSync(join(root, outside, "shop.service"))).toBe("/etc/systemd/system/shop.service");
    expect(readdirSync(etc).sort()).toEqual([
      "multi-user.target.wants",
      "shop.service",
      "store.service",
      "sysinit.target.wants",
    ]);
  } finally {
    for (const folder of [root, outside]) rmSync(folder, { recursive: true, force: true });
  }
});

it("a recipe's own file takes the place of a link that the image would have", async () => {
  const root = mkdtempSync(join(tmpdir(), "vireo-files-"));
  try {
    mkdirSync(join(root, "etc"));
    // As systemd-resolved's package leaves it.
    symlinkSync("/run/systemd/resolve/stub-resolv.conf", join(root, "etc/resolv.conf"));
    await putFiles(root, [{ path: "/etc//resolv.conf", content: "nameserver 10.0.0.1\n", mode: 0o644 }]);
    expect(readFileSync(join(root, "etc/resolv.conf"), "utf8")).toBe("nameserver 10.0.0.1\n");
    expect(readlinkSync(join(root, "var/lib/dbus/machine-id"))).toBe("/etc/machine-id");
    await putFiles(root, []);
    expect(readlinkSync(join(root, "etc/resolv.conf"))).toBe("../run/systemd/resolve/stub-resolv.conf");
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
