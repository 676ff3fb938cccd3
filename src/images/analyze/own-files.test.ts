/** Where an application's own files are in the image, and how a recipe carries them. */
import {
  chmodSync,
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
import { expect, it } from "vitest";
import { checkImage } from "../checks.ts";
import { bytesOf } from "../recipe.ts";
import { readApplication } from "./application.ts";
import { archiveOf, movedCommand, placeOf, recipeFiles, recipeFolders, serviceCommand } from "./own-files.ts";

it("an application stays where it lies, unless an image has nothing there; a tree of a system is one", () => {
  expect(placeOf("/srv/shop", ["run.py"], false)).toBe("/srv/shop");
  expect(placeOf("/tmp/shop", ["run.py"], false)).toBe("/opt/shop");
  expect(placeOf("/home/me/shop", ["run.py"], true)).toBe("/opt/shop");
  expect(placeOf("/home/me/x", ["usr/bin/a", "etc/a.conf"], true)).toBe("/");
  expect(placeOf("/home/me/x", ["usr/bin/a", "README"], true)).toBe("/opt/x");
});

it("its command is the image's service as it was run: what a shell does with it needs one", () => {
  expect(serviceCommand(`nginx -g "daemon off;"`)).toBe(`nginx -g "daemon off;"`);
  expect(serviceCommand("shop --port=80 >/dev/null")).toBe("shop --port=80 >/dev/null");
  expect(serviceCommand("cd /srv && ./it's")).toBe(`sh -c 'cd /srv && ./it'\\''s'`);
  expect(serviceCommand("PORT=80 shop")).toBe("sh -c 'PORT=80 shop'");
  expect(serviceCommand("sh -c 'a && b'")).toBe("sh -c 'a && b'");
  expect(serviceCommand("a\nb")).toBeUndefined();
});

it("its command goes with it", () => {
  expect(
    movedCommand(
      "./bin/run --conf=/tmp/shop/x /tmp/shop/c /tmp/shopping y",
      "/tmp/shop",
      "/opt/shop",
      "/tmp/shop",
    ),
  ).toBe("/opt/shop/bin/run --conf=/tmp/shop/x /opt/shop/c /tmp/shopping y");
});

it("texts as they are, all else as base64; links within it as what they lead to; more than the store takes not at all", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-own-"));
  try {
    mkdirSync(join(folder, "lib"));
    const bytes = Buffer.from([0x7f, 0x45, 0, 255, 128]);
    writeFileSync(join(folder, "lib/libown.so.1.2"), bytes);
    symlinkSync("libown.so.1.2", join(folder, "lib/libown.so.1"));
    symlinkSync("/usr/bin/elsewhere", join(folder, "elsewhere"));
    writeFileSync(join(folder, "run.sh"), "#!/bin/sh\n# ä\n");
    chmodSync(join(folder, "run.sh"), 0o755);
    const app = await readApplication(folder);
    expect(app.links).toEqual([{ name: "elsewhere", target: "/usr/bin/elsewhere" }]);
    const of = () =>
      recipeFiles([...app.files, ...app.copies].map((file) => ({ file, at: `/opt/${file.name}` })));
    const carried = await of();
    if (!("files" in carried)) throw new Error("too large");
    expect(carried.files).toEqual([
      { path: "/opt/lib/libown.so.1.2", content: bytes.toString("base64"), encoding: "base64" },
      { path: "/opt/run.sh", content: "#!/bin/sh\n# ä\n", mode: "0755" },
      { path: "/opt/lib/libown.so.1", content: bytes.toString("base64"), encoding: "base64" },
    ]);
    expect(carried.files.map(bytesOf)[0]).toEqual(bytes);
    const [file] = app.files;
    if (file) file.bytes = 2 ** 20 + 1;
    expect(await of()).toEqual({ tooLarge: 2 ** 20 + 1 + 20 });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("what is not base64 is refused by its field", () => {
  const recipe = { distribution: "debian", release: "bookworm", packages: [] as string[] } as const;
  const check = (content: string) =>
    checkImage(
      {
        apiVersion: "vireo.dev/v1",
        kind: "Image",
        metadata: { name: "a" },
        spec: {
          storagePool: "default",
          recipe: { ...recipe, files: [{ path: "/a", content, encoding: "base64" }] },
        },
      },
      undefined,
      { list: () => [] },
    ).map(({ field }) => field);
  expect(check("AAEC\nAw==")).toEqual([]);
  expect(check("")).toEqual([]);
  expect(check("AAECAw=")).toEqual(["spec.recipe.files[0].content"]);
  expect(check("no base64!")).toEqual(["spec.recipe.files[0].content"]);
});

it("an archive of them replaces nothing but what the recipe there names; packing that fails leaves nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-own-"));
  try {
    const at = (name: string) => join(folder, name);
    writeFileSync(at("run.sh"), "#!/bin/sh\n");
    const file = { name: "run.sh", path: at("run.sh"), bytes: 10, isExecutable: true };
    const pack = (bytes = 10) =>
      archiveOf(at("shop.yaml"), [{ file: { ...file, bytes }, at: "/opt/run.sh" }], []);
    // The application itself, say, that was looked at.
    writeFileSync(at("shop.tar"), "the user's");
    await expect(pack(11)).rejects.toThrow("changed while it was read");
    expect(readdirSync(folder).sort()).toEqual(["run.sh", "shop.tar"]);
    const { file: name, sha256 } = await pack();
    expect(name).toBe("shop.files.tar");
    expect(readFileSync(at("shop.tar"), "utf8")).toBe("the user's");
    await expect(pack()).rejects.toThrow(
      /shop\.files\.tar is there already, and .*shop\.yaml does not name it/,
    );
    writeFileSync(at("shop.yaml"), `archives:\n  - sha256: ${sha256}\n`);
    writeFileSync(at("run.sh"), "#!/bin/ash\n");
    expect((await pack(11)).sha256).not.toBe(sha256);
    await expect(pack(11)).rejects.toThrow("is there already");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("of folders that a recipe cannot name it is told which", () => {
  const long = `/srv/${"x".repeat(200)}`;
  const many = Array.from({ length: 201 }, (_, i) => `/tmp/shop/${i}`);
  const { directories, left } = recipeFolders(["/etc", long, ...many], "/tmp/shop", "/opt/shop");
  expect([directories.length, directories[0]]).toEqual([200, "/opt/shop/0"]);
  expect(left).toEqual([long, "/opt/shop/200"]);
});
