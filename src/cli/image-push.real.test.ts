/** Images brought from one control plane to another, over their APIs, as users do it. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readdir, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ensureAdminKubeconfig } from "../api/kubeconfig.ts";
import { Pki } from "../api/pki.ts";
import { startApiServer } from "../api/server.ts";
import type { Client } from "../client/client.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { packTar } from "../images/archives/pack.ts";
import { archiveFile, archivesFolder, makeFolder } from "../images/archives/store.ts";
import { runBuildReconciler } from "../images/build-reconciler.ts";
import { runImportReconciler } from "../images/import/reconciler.ts";
import { Image, ImageBuild } from "../images/kinds.ts";
import type { Recipe } from "../images/recipe.ts";
import { createBuild, runImageReconciler } from "../images/reconciler.ts";
import { imageSubresources } from "../images/subresources.ts";
import { signerOf } from "../images/trust/signature.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { sha256Of } from "../system/digest.ts";
import { importImage } from "./image-import.ts";
import { pushImage } from "./image-push.ts";
import { CACHE, type StatePaths, statePaths } from "./paths.ts";
import { Stopped } from "./stop-signal.ts";

const TIMEOUT_MS = 240_000;
interface Site {
  paths: StatePaths;
  client: Client;
  images: string;
  close: () => Promise<void>;
}

let folder: string;
let here: Site;
let there: Site;

/** A control plane of its own: CA, keys, state, storage pool. */
async function openSite(name: string): Promise<Site> {
  const paths = statePaths(join(folder, name));
  const pki = await Pki.open(paths.pki);
  const plane = await openControlPlane();
  const { client, service } = plane;
  const signer = signerOf(createHash("sha256").update(name).digest());
  const subresources = imageSubresources({ client, signer });
  const server = await startApiServer({ service, pki, host: "127.0.0.1", port: 0, subresources });
  ensureAdminKubeconfig(pki, paths.kubeconfig, server.url);
  const images = join(paths.pool, "images");
  mkdirSync(images, { recursive: true });
  const directory = { path: paths.pool, shared: true };
  await client.create(StoragePool, { metadata: { name: "default" }, spec: { directory } });
  const stop = new AbortController();
  const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal };
  const running = Promise.all([
    runImageReconciler(context),
    runImportReconciler(context),
    runBuildReconciler({ ...context, cache: CACHE, signer }),
  ]);
  const close = async () => {
    stop.abort();
    await running;
    await server.close();
    await plane.close();
  };
  return { paths, client, images, close };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-push-test-"));
  here = await openSite("here");
  there = await openSite("there");
});
afterAll(async () => {
  await here?.close();
  await there?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** @param print is told each line, too @returns what was printed */
async function push(
  name: string,
  print: (line: string) => void = () => {},
  signal = new AbortController().signal,
) {
  const lines: string[] = [];
  await pushImage(
    { paths: here.paths },
    { name, to: there.paths.kubeconfig, timeoutMs: TIMEOUT_MS, signal },
    (line) => {
      lines.push(line);
      print(line);
    },
  );
  return lines.join("\n");
}
/** By Ctrl-C, when some of it is sent. @returns what was told then */
async function brokenOff(name: string): Promise<string> {
  const stop = new AbortController();
  const print = (line: string) => line.includes("% of") && stop.abort(new Stopped("SIGINT"));
  const error: unknown = await push(name, print, stop.signal).catch((thrown: unknown) => thrown);
  if (error instanceof Stopped) return error.message;
  throw new Error(`image/${name} was not broken off`, { cause: error });
}
const statusOf = async ({ client }: Site, name: string) => (await client.get(Image, { name }))?.status;
const bytesOf = ({ images }: Site, file = "") => readFileSync(join(images, file));

it("sends a disk, which goes on where it was broken off; what is there already is not sent", async () => {
  const disk = join(folder, "disk.raw");
  // Nothing in it is the same twice: its qcow2 is as large.
  const bytes = Buffer.concat(
    Array.from({ length: (12 * 2 ** 20) / 32 }, (_, i) => createHash("sha256").update(`${i}`).digest()),
  );
  bytes.writeUInt16LE(0xaa55, 510);
  writeFileSync(disk, bytes);
  const given = { name: "brought", from: disk, detach: false, timeoutMs: TIMEOUT_MS };
  await importImage({ paths: here.paths }, { ...given, signal: new AbortController().signal }, () => {});
  const image = await statusOf(here, "brought");

  expect(await brokenOff("brought")).toBe(
    "image/brought: stopped; the same command goes on, vireo image cancel brought in that installation ends it",
  );
  expect((await statusOf(there, "brought"))?.phase).not.toBe("Ready");
  const second = await push("brought");
  expect(second).toMatch(/^image\/brought: goes on after \d+ of \d+ bytes$/m);
  expect(second).toContain(`image/brought is there, the same disk: sha256 ${image?.sha256}`);
  const came = await statusOf(there, "brought");
  expect(came?.sha256).toBe(image?.sha256);
  expect(bytesOf(there, came?.file).equals(bytesOf(here, image?.file))).toBe(true);

  expect(await push("brought")).toBe(
    `image/brought is the same there already; nothing is sent: sha256 ${image?.sha256}`,
  );
  // By its content, whatever it is called.
  await importImage(
    { paths: here.paths },
    { ...given, name: "again", signal: new AbortController().signal },
    () => {},
  );
  expect(await push("again")).toMatch(/^image\/brought is the same there already; nothing is sent: /);
  // Another one of that name stays what it is.
  writeFileSync(disk, Buffer.concat([bytes, bytes]));
  await importImage(
    { paths: there.paths },
    { ...given, name: "again", signal: new AbortController().signal },
    () => {},
  );
  await there.client.delete(Image, { name: "brought" });
  await expect(push("again")).rejects.toThrow(
    /^image\/again is there already, and is another one: its disk has the sha256 [0-9a-f]{64}, here [0-9a-f]{64}; delete it there first$/,
  );
}, 600_000);

const RECIPE: Recipe = { distribution: "debian", release: "bookworm", packages: [], guestAgent: false };

/** Built here. */
async function built(name: string, recipe: Recipe) {
  await createBuild(here.client, name, { recipe });
  const phase = async () => (await statusOf(here, name))?.phase;
  await expect.poll(phase, { timeout: TIMEOUT_MS }).toBe("Ready");
  return statusOf(here, name);
}

it("has an image of a recipe built there of the same packages, and it is the same", async () => {
  const image = await built("web", RECIPE);
  const said = await push("web");
  expect(said).toMatch(/^imagebuild\/web-1 .*resolving and downloading packages/m);
  expect(said).toContain(`image/web is there, the same disk: sha256 ${image?.sha256}`);
  const came = await statusOf(there, "web");
  expect(came?.packages).toEqual(image?.packages);
  for (const file of [image?.file, image?.boot?.kernel, image?.boot?.initrd])
    expect(bytesOf(there, file).equals(bytesOf(here, file)), file).toBe(true);
  expect(await push("web")).toMatch(/^image\/web is the same there already; nothing is sent: /);

  // What becomes something else than is expected leaves the one there as it is.
  const expected = { file: "web-000000000000.qcow2", sha256: "0".repeat(64) };
  const recipe = { ...RECIPE, hostname: "other" };
  const { metadata } = await createBuild(there.client, "web", { recipe, expected });
  const build = async () => (await there.client.get(ImageBuild, metadata))?.status;
  await expect.poll(async () => (await build())?.phase, { timeout: TIMEOUT_MS }).toBe("Failed");
  expect((await build())?.message).toMatch(
    /^spec\.expected: it became web-[0-9a-f]{12}\.qcow2 with the sha256 [0-9a-f]{64}, and web-000000000000\.qcow2 .* image\/web stays what it was$/,
  );
  expect((await there.client.get(Image, { name: "web" }))?.spec.recipe?.hostname).toBeUndefined();
  expect((await statusOf(there, "web"))?.file).toBe(came?.file);
}, 600_000);

it("of one with formats all are the same; one that became another is told", async () => {
  const recipe: Recipe = { ...RECIPE, boot: "both", root: "ram", formats: ["vhd", "ova"] };
  const image = await built("shop", recipe);
  expect(await push("shop")).toContain(
    `image/shop is there, the same disk, vhd, ova: sha256 ${image?.sha256}`,
  );
  const now = await there.client.get(Image, { name: "shop" });
  const ova = image?.artifacts?.find(({ format }) => format === "ova");
  expect(now?.status?.artifacts).toContainEqual(ova);
  // As another version of Vireo would have made it; there its builder finds that again.
  const file = (await readdir(there.images)).find((name) => /^shop-.{12}\.json$/.test(name)) ?? "";
  const told = readFileSync(join(there.images, file), "utf8").replaceAll(ova?.sha256 ?? "", "0".repeat(64));
  writeFileSync(join(there.images, "changed"), told);
  await rename(join(there.images, "changed"), join(there.images, file));
  await there.client.delete(Image, { name: "shop" });
  await expect(push("shop")).rejects.toThrow(
    "image/shop is another one there: it has not the same ova; the two installations may be of different versions of Vireo",
  );
}, 600_000);

it("does not take two for the same of which only what is in memory differs", async () => {
  const ram: Recipe = { ...RECIPE, root: "ram" };
  const first = await built("first", ram);
  const second = await built("second", { ...ram, files: [{ path: "/etc/second", content: "" }] });
  expect(second?.sha256).toBe(first?.sha256);
  await push("first");
  expect(await push("second")).toContain("image/second is there, the same disk");
  const came = await statusOf(there, "second");
  expect(bytesOf(there, came?.boot?.initrd).equals(bytesOf(here, second?.boot?.initrd))).toBe(true);
}, 600_000);

it("brings archives that its recipe names, goes on where that was broken off, and sends none twice", async () => {
  const store = archivesFolder(here.images);
  await makeFolder(store);
  const content = Buffer.concat(
    Array.from({ length: (6 * 2 ** 20) / 32 }, (_, i) => createHash("sha256").update(`a${i}`).digest()),
  );
  writeFileSync(join(folder, "data"), content);
  const tar = join(folder, "app.tar");
  await packTar(tar, [{ name: "data", path: join(folder, "data"), bytes: content.length, mode: 0o644 }]);
  const sha256 = await sha256Of(tar);
  const { size: bytes } = statSync(tar);
  await rename(tar, archiveFile(store, sha256));
  const recipe: Recipe = { ...RECIPE, archives: [{ file: "app.tar", path: "/srv", sha256, bytes }] };
  const image = await built("app", recipe);

  expect(await brokenOff("app")).toBe(
    "imagebuild/app-1: stopped; the same command goes on within an hour, vireo image cancel app-1 in that installation ends it",
  );
  expect(await statusOf(there, "app")).toBeUndefined();
  const second = await push("app");
  expect(second).toMatch(/^imagebuild\/app-1: app\.tar: goes on after \d+ of \d+ bytes$/m);
  expect(second).toContain(`image/app is there, the same disk: sha256 ${image?.sha256}`);
  const came = await statusOf(there, "app");
  expect(bytesOf(there, came?.file).equals(bytesOf(here, image?.file))).toBe(true);

  // Of another image's recipe: it is there already.
  await built("other", { ...recipe, packages: ["hello"] });
  expect(await push("other")).not.toMatch(/bytes sent|goes on after/);
  // What is damaged in the pool here becomes no image's.
  writeFileSync(archiveFile(store, sha256), Buffer.alloc(bytes));
  rmSync(archiveFile(archivesFolder(there.images), sha256));
  await there.client.delete(Image, { name: "other" });
  await expect(push("other")).rejects.toThrow(`what came is not the app.tar whose sha256 is ${sha256}`);
  await expect(push("none")).rejects.toThrow('there is no image "none"');
}, 600_000);
