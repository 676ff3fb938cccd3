/** Files and keys of images, over a real API server: who may have them, and what is said of those that are not there. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ADMINS, Pki } from "../api/pki.ts";
import { ClusterRoleBinding } from "../api/rbac-kinds.ts";
import { type ApiServer, startApiServer } from "../api/server.ts";
import { HttpClient } from "../client/http.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { BuildLog } from "./build-log.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { imageSubresources } from "./subresources.ts";
import { signerOf } from "./trust/signature.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-subresources-"));
const signer = signerOf(Buffer.alloc(32, 1));
const sha256 = "a".repeat(64);
const archives = [{ file: "shop.tar", sha256, bytes: 512 }];
const recipe = { distribution: "debian" as const, release: "bookworm" as const, packages: ["bash"] };
let plane: TestControlPlane;
let server: ApiServer;
let admin: HttpClient;
let viewer: HttpClient;

beforeAll(async () => {
  const pki = await Pki.open(folder);
  plane = await openControlPlane();
  const { client, service } = plane;
  const subresources = imageSubresources({ client, signer });
  server = await startApiServer({ service, pki, host: "127.0.0.1", port: 0, subresources });
  const as = (name: string, groups: string[]) =>
    new HttpClient({ url: server.url, ca: pki.ca, token: pki.tokens.addUser({ name, groups }) });
  [admin, viewer] = [as("admin", [ADMINS]), as("eve", [])];
  await admin.raw("POST", `/apis/${ClusterRoleBinding.group}/v1/${ClusterRoleBinding.plural}`, {
    apiVersion: `${ClusterRoleBinding.group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "eve" },
    roleRef: { kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "User", name: "eve" }],
  });
  const artifacts = [{ format: "spdx" as const, file: "web.spdx.json", bytes: 1, sha256: "0".repeat(64) }];
  const web = await client.create(Image, {
    metadata: { name: "web" },
    spec: { recipe: { ...recipe, archives } },
  });
  await client.updateStatus(Image, { ...web, status: { phase: "Ready", file: "web.qcow2", artifacts } });
  const build = await client.create(ImageBuild, {
    metadata: { name: "web-1" },
    spec: { image: "web", recipe },
  });
  await client.updateStatus(ImageBuild, { ...build, status: { phase: "Succeeded", artifacts } });
  const directory = { path: join(folder, "pool") };
  await client.create(StoragePool, { metadata: { name: "default" }, spec: { directory } });
  const log = await BuildLog.begin(join(folder, "pool/images"), build, {
    now: () => new Date(0),
    failed: (error) => expect.fail(error.message),
  });
  log.say("unpacking");
  log.say("done");
  await log.end();
  const startedTime = new Date(0).toISOString();
  const lost = await client.create(ImageBuild, {
    metadata: { name: "web-2" },
    spec: { image: "web", recipe },
  });
  await client.updateStatus(ImageBuild, { ...lost, status: { phase: "Succeeded", startedTime } });
  const brought = await client.create(Image, { metadata: { name: "brought" }, spec: { file: "b.qcow2" } });
  await client.updateStatus(Image, { ...brought, status: { phase: "Ready", file: "b.qcow2" } });
});
afterAll(async () => {
  admin.close();
  viewer.close();
  await server.close();
  await plane.close();
  rmSync(folder, { recursive: true });
});

/** @returns what came, or the error's text */
async function get(client: HttpClient, path: string): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const bytes of client.bytes(`/apis/vireo.dev/v1/${path}`)) chunks.push(bytes);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return Buffer.concat(chunks).toString("utf8");
}

it("who may only view may have the key, and the lists of builds", async () => {
  expect(await get(viewer, "images/web/key")).toBe(signer.publicKey);
  // It was asked for, and not forbidden.
  expect(await get(viewer, "imagebuilds/web-1/file?format=files")).toMatch(/^image web-1 has no files/);
});

it("a build's log is the pool's, whoever built; one that is gone is told", async () => {
  expect(await get(viewer, "imagebuilds/web-1/log")).toBe(
    "1970-01-01T00:00:00.000Z unpacking\n1970-01-01T00:00:00.000Z done\n",
  );
  expect(await get(viewer, "imagebuilds/web-1/log?tailLines=1")).toBe("1970-01-01T00:00:00.000Z done\n");
  expect(await get(viewer, "imagebuilds/web-2/log")).toMatch(
    /^the log of imagebuild web-2 is not in the storage pool default: /,
  );
});

it("archives are given out to whom disks are, of the images that name them; and parts of files", async () => {
  const images = join(folder, "pool/images");
  mkdirSync(join(images, ".archives"), { recursive: true });
  writeFileSync(join(images, ".archives", sha256), "0123456789");
  const other = "b".repeat(64);
  writeFileSync(join(images, ".archives", other), "nobody's");
  const path = `images/web/file?archive=${sha256}`;
  expect(await get(viewer, path)).toBe("0123456789");
  const part = async (first: number, bytes: number) => {
    const given = await viewer.part(`/apis/vireo.dev/v1/${path}`, first, bytes);
    return `${given.bytes} of ${given.totalBytes}`;
  };
  expect(await part(0, 3)).toBe("012 of 10");
  expect(await part(7, 30)).toBe("789 of 10");
  await expect(part(10, 1)).rejects.toThrow();
  const none = /^the recipe of image \S+ names no archive with that sha256$/;
  expect(await get(viewer, `images/web/file?archive=${other}`)).toMatch(none);
  expect(await get(viewer, `images/brought/file?archive=${sha256}`)).toMatch(none);
  expect(await get(viewer, "images/web/file?archive=../web.qcow2")).toMatch(none);
  rmSync(join(images, ".archives", sha256));
  expect(await get(viewer, path)).toBe("the file shop.tar of image web is not in the pool any more");
});

it("there is no key of an image that is not there", async () => {
  expect(await get(admin, "images/none/key")).toBe('images.vireo.dev "none" not found');
});

it("what is not there is told with what would help", async () => {
  expect(await get(admin, "images/web/file?format=ova")).toBe(
    "image web has no ova; it has spdx. Name it in spec.recipe.formats and build again",
  );
  expect(await get(admin, "images/web/file?format=signature")).toBe(
    "image web has no signature; it has spdx: it was built by an older Vireo. Build it again",
  );
  expect(await get(admin, "images/web/file?format=zip")).toMatch(
    /^image web has no zip; .*Formats are raw, /,
  );
  expect(await get(admin, "images/brought/file?format=ova")).toBe(
    "image brought has no ova. Only images of a recipe have more than their disk",
  );
});
