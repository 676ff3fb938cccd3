/** Archives of recipes, sent by `vireo image build` to a real API server. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ensureAdminKubeconfig } from "../api/kubeconfig.ts";
import { Pki } from "../api/pki.ts";
import { type ApiServer, startApiServer } from "../api/server.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { packTar } from "../images/archives/pack.ts";
import { ImageBuild } from "../images/kinds.ts";
import { imageSubresources } from "../images/subresources.ts";
import { signerOf } from "../images/trust/signature.ts";
import { connectTo } from "./connect.ts";
import { buildImage } from "./image-build.ts";
import { statePaths } from "./paths.ts";
import { Stopped } from "./stop-signal.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-cli-archives-"));
const paths = statePaths(folder);
const recipe = join(folder, "web.yaml");
const tar = join(folder, "app.tar");
let plane: TestControlPlane;
let server: ApiServer;

beforeAll(async () => {
  const pki = await Pki.open(paths.pki);
  plane = await openControlPlane();
  const { client, service } = plane;
  const subresources = imageSubresources({ client, signer: signerOf(Buffer.alloc(32, 1)) });
  server = await startApiServer({ service, pki, host: "127.0.0.1", port: 0, subresources });
  ensureAdminKubeconfig(pki, paths.kubeconfig, server.url);
  await mkdir(paths.pool);
  const directory = { path: paths.pool };
  await client.create(StoragePool, { metadata: { name: "default" }, spec: { directory } });
  writeFileSync(recipe, "packages: []\narchives:\n  - file: app.tar\n");
  const bytes = 5 * 2 ** 20;
  writeFileSync(join(folder, "data"), Buffer.alloc(bytes, 1));
  await packTar(tar, [{ name: "data", path: join(folder, "data"), bytes, mode: 0o644 }]);
});
afterAll(async () => {
  await server.close();
  await plane.close();
  rmSync(folder, { recursive: true });
});

/** @returns what was printed */
async function build(print: (line: string) => void = () => {}, signal = new AbortController().signal) {
  const lines: string[] = [];
  const flags = { package: [], service: [], directory: [], guestAgent: true };
  await buildImage({ paths }, { what: recipe, flags, detach: true, timeoutMs: 10_000, signal }, (line) => {
    lines.push(line);
    print(line);
  });
  return lines.join("\n");
}
const spec = async (name: string) => (await plane.client.get(ImageBuild, { name }))?.spec;

it("Ctrl-C while they are sent cancels the build, which nobody would send the rest to", async () => {
  const stop = new AbortController();
  const said: string[] = [];
  const building = build((line) => {
    said.push(line);
    if (line.includes("% of")) stop.abort(new Stopped("SIGINT"));
  }, stop.signal);
  await expect(building).rejects.toThrow(
    new Stopped("SIGINT", "imagebuild/web-1 is being cancelled: not all of its archives were sent"),
  );
  expect(said).toEqual([expect.stringMatching(/^imagebuild\/web-1: app\.tar: [34]0 % of /)]);
  expect((await spec("web-1"))?.cancelled).toBe(true);
});

it("the last part is answered as soon as it is there: the build looks at all of it", async () => {
  expect(await build()).toMatch(/^imagebuild\/web-2 of image\/web waits; /m);
  const [archive] = (await spec("web-2"))?.recipe.archives ?? [];
  const uid = (await plane.client.get(ImageBuild, { name: "web-2" }))?.metadata.uid?.slice(0, 8);
  const parts = await readdir(join(paths.pool, "images/.archives"));
  expect(parts).toContain(`${archive?.sha256}.${uid}.part`);
  expect(parts).not.toContain(archive?.sha256);
  // Whoever did not hear of it goes on, or asks.
  const { size } = statSync(tar);
  const path = `/apis/vireo.dev/v1/imagebuilds/web-2/upload?sha256=${archive?.sha256}`;
  const client = connectTo({ paths });
  const whole = expect.objectContaining({ receivedBytes: size, totalBytes: size });
  expect(await client.request({ method: "GET", path })).toEqual(whole);
  const none = { body: Buffer.alloc(0), contentType: "application/octet-stream" };
  expect(await client.request({ method: "POST", path: `${path}&offset=${size}`, ...none })).toEqual(whole);
  const conflict = () =>
    client.request({ method: "POST", path: `${path}&offset=1`, ...none }).catch((e) => e);
  // What is told apart by whoever sends: what may be tried again, and what is final.
  expect(await conflict()).toMatchObject({ reason: "Conflict", details: { retryAfterSeconds: 1 } });
  const build2 = await plane.client.get(ImageBuild, { name: "web-2" });
  if (!build2) throw new Error("it is not there");
  await plane.client.updateStatus(ImageBuild, { ...build2, status: { phase: "Failed" } });
  expect(await conflict()).toMatchObject({ reason: "Conflict", message: expect.stringContaining("is over") });
  expect(await conflict()).not.toHaveProperty("details.retryAfterSeconds");
  client.close();
});
