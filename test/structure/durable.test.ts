/** Who gives a file its name: system/durable.ts, which makes sure of what it holds first, but for those below. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");

/** File -> why it may rename by itself. */
const OTHERS: Readonly<Record<string, string>> = {
  "agent/disks/left-files.ts": "to remove it",
  "agent/disks/volume-files.ts": "to remove it",
  "agent/network/network-dhcp.ts": "compared with what it is to be again and again",
  "agent/qemu/memory-files.ts": "its names say how sure it is",
  "agent/qemu/qemu-record.ts": "of use for as long as the host runs",
  "images/boot/kernel.ts": "in a folder that the cache makes sure of",
  "images/build/builder.ts": "in a folder of which publish.ts makes sure",
  "images/formats/formats.ts": "in a folder of which publish.ts makes sure",
  "images/full/apt-root.ts": "in a folder that the cache makes sure of",
  "images/garbage/publish.ts": "makes sure of many at once",
  "images/garbage/removal.ts": "to remove it",
  "images/rpm/rpm-packages.ts": "makes sure of many at once",
};

it("files of agents and images are renamed by one helper, which makes sure that they outlive a power cut, and by nobody else but for reasons that are known", () => {
  const found = ["agent", "images"].flatMap((room) =>
    readdirSync(join(SRC, room), { recursive: true, encoding: "utf8" })
      .map((path) => `${room}/${path}`)
      .filter((path) => path.endsWith(".ts") && !/\.test\.ts$|\/testing\//.test(path))
      .filter((path) => /\b(rename|renameSync)\(/.test(readFileSync(join(SRC, path), "utf8"))),
  );
  expect(found.sort()).toEqual(Object.keys(OTHERS));
});
