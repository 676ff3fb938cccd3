import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { importFolder, receive, removeStaleImports } from "./received.ts";

const image = (uid: string) => ({ metadata: { name: "web", uid } });

it("of what imports have left stays what is being brought, also what begins while that is asked", async () => {
  const images = mkdtempSync(join(tmpdir(), "vireo-received-"));
  try {
    const [gone, coming, late] = [image("11111111-0"), image("22222222-0"), image("33333333-0")];
    for (const each of [gone, coming]) await receive(images, each, 0, Buffer.from("x"));
    await removeStaleImports(images, async () => {
      await receive(images, late, 0, Buffer.from("x"));
      return [coming];
    });
    const left = () => readdirSync(images).sort();
    const foldersOf = (...of: { metadata: { name: string; uid: string } }[]) =>
      of.map((each) => importFolder(images, each).slice(images.length + 1)).sort();
    expect(left()).toEqual(foldersOf(coming, late));
    await removeStaleImports(images, async () => undefined);
    expect(left()).toEqual(foldersOf(coming, late));
  } finally {
    rmSync(images, { recursive: true });
  }
});
