/** Versions of an image: what becomes one, what machines call them, and what the image reconciler makes of builds. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modify } from "../../client/client.ts";
import { VirtualMachine } from "../../compute/kinds.ts";
import { missingOf } from "../../compute/missing.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, until } from "../../compute/testing/control-plane.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { Image, ImageBuild } from "../kinds.ts";
import { runImageReconciler } from "../reconciler.ts";
import { imageAt, keptVersions, lackingTag, type Versioned, withVersion } from "./kinds.ts";

const file = (n: number) => ({ file: `web-${n}.qcow2`, format: "qcow2" as const });
const TIME = "2026-01-01T00:00:00Z";

describe("a version", () => {
  it("is each file that an image has been, by its number", () => {
    const first = withVersion(undefined, file(1), TIME);
    expect(first).toEqual({ version: 1, versions: [{ version: 1, ...file(1), createdTime: TIME }] });
    const second = withVersion({ ...file(1), ...first }, file(2), TIME);
    expect(second.version).toBe(2);
    expect(withVersion({ ...file(2), ...second }, file(1), TIME)).toEqual({ ...second, version: 1 });
    // The numbers of those that are gone are not given again.
    const gone = { version: 2, versions: second.versions?.slice(1) ?? [] };
    expect(withVersion(gone, file(3), TIME).version).toBe(3);
  });
  it("of an image from before there were versions is the first", () => {
    expect(withVersion(file(1), file(2), TIME)).toMatchObject({ version: 2, versions: [file(1), file(2)] });
  });

  const image: Versioned = {
    spec: { channels: [{ name: "stable", version: 1 }], keepVersions: 2 },
    status: { ...file(5), version: 5, versions: [1, 2, 3, 4, 5].map((n) => ({ version: n, ...file(n) })) },
  };
  it("is what machines name", () => {
    expect(imageAt(image, "web")).toBe(image);
    expect(imageAt(image, "web:3")?.status).toMatchObject(file(3));
    expect(imageAt(image, "web:stable")?.status).toMatchObject({ ...file(1), phase: "Ready" });
    expect(imageAt(image, "web:beta")?.status?.file).toBeUndefined();
  });
  it("is kept while it is new, or something names it", () => {
    const kept = (tags: string[]) => keptVersions(image, tags).map(({ version }) => version);
    expect(kept([])).toEqual([1, 4, 5]);
    expect(kept(["2", "stable"])).toEqual([1, 2, 4, 5]);
  });
});

describe("an image that is built again and again", () => {
  let plane: Awaited<ReturnType<typeof openControlPlane>>;
  let pool: string;
  const stop = { signal: new AbortController() };
  let running: Promise<void>;
  const recipe = (name: string) => ({
    distribution: "debian" as const,
    release: "bookworm" as const,
    packages: [name],
  });

  beforeEach(async () => {
    plane = await openControlPlane();
    pool = mkdtempSync(join(tmpdir(), "vireo-versions-"));
    mkdirSync(join(pool, "images"));
    await plane.client.create(StoragePool, {
      metadata: { name: "default" },
      spec: { directory: { path: pool, shared: true } },
    });
    stop.signal = new AbortController();
    const context = {
      client: plane.client,
      clock: systemClock,
      log: silentLogger,
      signal: stop.signal.signal,
    };
    running = runImageReconciler(context);
  });
  afterEach(async () => {
    stop.signal.abort();
    await running;
    await plane.close();
    rmSync(pool, { recursive: true });
  });

  const web = () => plane.client.get(Image, { name: "web" });
  /** Carries out the build that the image waits for. */
  async function build(n: number): Promise<void> {
    const waiting = await until("a build", async () =>
      (await plane.client.list(ImageBuild)).items.find(({ status }) => status?.phase === undefined),
    );
    writeFileSync(join(pool, "images", file(n).file), "x");
    await modify(plane.client, ImageBuild, { name: waiting.metadata.name }, "status", (now) => ({
      ...now,
      status: { phase: "Succeeded" as const, finishedTime: new Date().toISOString(), ...file(n) },
    }));
    await until("the image to have it", async () => (await web())?.status?.file === file(n).file);
  }
  const give = (name: string) =>
    modify(plane.client, Image, { name: "web" }, "object", (now) => ({
      ...now,
      spec: { ...now.spec, recipe: recipe(name) },
    }));

  it("has a version for each; channels stay where they point, and only to what is there", async () => {
    await plane.client.create(Image, { metadata: { name: "web" }, spec: { recipe: recipe("one") } });
    await build(1);
    await modify(plane.client, Image, { name: "web" }, "object", (now) => ({
      ...now,
      spec: { ...now.spec, channels: [{ name: "stable", version: 1 }] },
    }));
    await give("two");
    await build(2);
    const image = await web();
    expect(image?.status).toMatchObject({ version: 2, versions: [{ version: 1 }, { version: 2 }] });
    await expect(
      plane.client.patch(Image, { name: "web" }, { spec: { channels: [{ name: "stable", version: 7 }] } }),
    ).rejects.toThrow("spec.channels[0].version: Invalid value: 7: the image has the versions 1, 2");

    const machine = async (reference: string) => {
      const vm = await plane.client.create(VirtualMachine, {
        metadata: { name: reference.replace(":", "-"), namespace: "default" },
        spec: { memory: "64Mi", image: reference },
      });
      return missingOf(vm, { image: () => image, hasNetwork: () => true, hasPool: () => true });
    };
    expect(await machine("web:stable")).toBeUndefined();
    expect(JSON.stringify(await machine("web:beta"))).toContain(
      "image web (spec.image) has no version or channel beta; it has 1, 2, stable",
    );
    await expect(plane.client.delete(Image, { name: "web" })).rejects.toThrow("used by default/web-beta");
  });

  it("may have channels from the beginning: they wait for their versions", async () => {
    const channels = [
      { name: "beta", version: 2 },
      { name: "stable", version: 1 },
    ];
    await plane.client.create(Image, {
      metadata: { name: "web" },
      spec: { recipe: recipe("one"), channels },
    });
    const why = (image: Image | undefined) => image && lackingTag(image, "stable");
    expect(why(await web())).toBe("has no version 1 yet, to which its channel stable points; it has none");
    await build(1);
    const image = await web();
    expect(image && imageAt(image, "web:stable")?.status).toMatchObject({ ...file(1), phase: "Ready" });
    expect(image && lackingTag(image, "beta")).toContain("has no version 2 yet, to which its channel beta");
    expect(image && lackingTag(image, "no")).toBe("has no version or channel no; it has 1, stable");
    // Neither what was there before nor what is changed beside it is in the way.
    await give("two");
    await build(2);
    expect(imageAt(await web(), "web:beta")?.status).toMatchObject(file(2));
    const moved = { spec: { channels: [{ name: "beta", version: 3 }] } };
    await expect(plane.client.patch(Image, { name: "web" }, moved)).rejects.toThrow("has the versions 1, 2");
  });

  it("with an earlier recipe again, whose files are gone, is built again", async () => {
    await plane.client.create(Image, { metadata: { name: "web" }, spec: { recipe: recipe("one") } });
    await build(1);
    await give("two");
    await build(2);
    rmSync(join(pool, "images", file(1).file));
    await give("one");
    await build(3);
    expect((await web())?.status).toMatchObject({ version: 3, build: expect.stringMatching(/^web-/) });
  });
});
