/** Images from recipes, as users build them: progress, log, wrong names, cancelling; one disk that BIOS and UEFI boot, with its whole system in memory. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  appendFileSync,
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
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { ImageCollector } from "../src/images/garbage/collector.ts";
import { Image, ImageBuild } from "../src/images/kinds.ts";
import { ARTIFACTS, FORMATS } from "../src/images/recipe.ts";
import { systemClock } from "../src/reconcile/clock.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { run, Stack, until } from "./support/stack.ts";

let stack: Stack;
let folder: string;

const RECIPE = `
packages: []
boot: both
root: ram
minimize: true
guestAgent: false
services:
  - { name: http, command: busybox httpd -f -p 80 -h /srv/www }
files:
  - { path: /srv/www/index.html, content: "all in memory\\n" }
`;

beforeAll(async () => {
  stack = await Stack.create();
  folder = mkdtempSync(join(tmpdir(), "vireo-recipes-"));
  writeFileSync(join(folder, "slim.yaml"), `${RECIPE}formats: [${FORMATS.join(", ")}]\n`);
  const { code, stdout, stderr } = await stack.up([]);
  expect(code, stdout + stderr).toBe(0);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  rmSync(folder, { recursive: true });
});

const built = () => readdirSync(join(stack.paths.pool, "images"));
const image = (name: string) => stack.client.get(Image, { name });

it("builds a recipe from a file, tells how it goes, and keeps the log", async () => {
  const { code, stdout, stderr } = await stack.vireo(["image", "build", join(folder, "slim.yaml")], {
    timeoutMs: 240_000,
  });
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/^imagebuild\/slim-1 .*0 %.*resolving and downloading packages/m);
  expect(stdout).toMatch(
    /^imagebuild\/slim-1 slim-[0-9a-f]{12}\.qcow2: [\d.]+ MiB, \d+ packages, [\d.]+ s$/m,
  );
  expect((await image("slim"))?.status).toMatchObject({ phase: "Ready", build: "slim-1" });
  expect((await image("slim"))?.status?.boot).toBeUndefined();
  const build = await stack.client.get(ImageBuild, { name: "slim-1" });
  expect(build?.status?.stages?.map(({ name }) => name)).toEqual([
    "packages",
    "unpack",
    "initrd",
    "disk",
    "formats",
  ]);
  const log = await stack.vireo(["image", "log", "slim"]);
  expect(log.stdout).toMatch(/unpacked libc6_/);
  expect(log.stdout).toMatch(/left out, because nothing needs it/);
});

it("builds it again, of its packages alone, and it is the same in every format; a changed file is told", async () => {
  const verify = () => stack.vireo(["image", "verify", "slim"], { timeoutMs: 240_000 });
  const { code, stdout, stderr } = await verify();
  expect(code, stdout + stderr).toBe(0);
  // With the disk itself.
  expect(stdout).toMatch(/is signed by this installation.*: 23 files built again are the same, bit for bit/);
  const artifacts = (await image("slim"))?.status?.artifacts ?? [];
  expect(artifacts.map(({ format }) => format)).toEqual(expect.arrayContaining([...ARTIFACTS]));
  expect(artifacts).toHaveLength(ARTIFACTS.length);
  const file = (format: string) =>
    join(stack.paths.pool, "images", artifacts.find((each) => each.format === format)?.file ?? "");
  const statement = JSON.parse(readFileSync(file("provenance"), "utf8"));
  expect(statement.subject).toContainEqual({
    name: (await image("slim"))?.status?.file,
    digest: { sha256: (await image("slim"))?.status?.sha256 },
  });
  appendFileSync(file("spdx"), " ");
  const changed = await verify();
  expect(changed.code).toBe(1);
  expect(changed.stderr).toMatch(/slim-[0-9a-f]{12}\.spdx\.json was changed after it was built/);
  expect(built().filter((name) => name.startsWith("."))).toEqual([]);
});

it("gives its files away, checked", async () => {
  const output = join(folder, "slim.ova");
  const { code, stdout, stderr } = await stack.vireo([
    "image",
    "export",
    "slim",
    "--format",
    "ova",
    "-o",
    output,
  ]);
  expect(code, stderr).toBe(0);
  const { sha256 } = (await image("slim"))?.status?.artifacts?.find(({ format }) => format === "ova") ?? {};
  expect(stdout).toContain(`sha256 ${sha256}`);
  const listed = await run("tar", ["-tf", output]);
  expect(listed.stdout.split("\n").slice(0, 3)).toEqual(["slim.ovf", "slim.mf", "slim-disk1.vmdk"]);
  // Signed, for those who have the key and no installation.
  const [signature, key] = [join(folder, "slim.intoto.jsonl"), join(folder, "key.pub")];
  await stack.vireo(["image", "export", "slim", "--format", "signature", "-o", signature]);
  writeFileSync(key, (await stack.vireo(["image", "key", "slim"])).stdout);
  const check = (file: string) =>
    stack.vireo(["image", "check", file, "--signature", signature, "--key", key]);
  expect((await check(output)).stdout).toMatch(/slim\.ova: is slim-[0-9a-f]{12}\.ova, signed/);
  const unsigned = await check(join(folder, "slim.yaml"));
  expect(unsigned).toMatchObject({ code: 1, stderr: expect.stringContaining("not among the files that") });
  const none = await stack.vireo(["image", "export", "slim", "--format", "zip"]);
  expect(none.stderr).toMatch(/^vireo: image slim has no zip; it has .*oci, .*signature\. Formats are raw, /);
});

it("names the known vulnerabilities of its packages, by Debian's list", async () => {
  const tracker = join(folder, "tracker.json");
  const releases = { bookworm: { status: "open", urgency: "low" } };
  const mended = { bookworm: { status: "resolved", fixed_version: "99:1" } };
  const list = {
    glibc: { "CVE-2030-1": { description: "bad", releases } },
    linux: { "CVE-2030-2": { releases: mended } },
  };
  writeFileSync(tracker, JSON.stringify(list));
  const args = ["image", "vulnerabilities", "slim", "--from", tracker];
  const { code, stdout, stderr } = await stack.vireo(args);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^libc6 +\S+ +CVE-2030-1 +- +low +bad$/m);
  expect(stdout).toMatch(/^linux-image-\S+ +\S+ +CVE-2030-2 +99:1 +-$/m);
  // Two kernels: the small one is packed into the file of the other.
  expect(stdout).toContain("image/slim: 2 known vulnerabilities in 3 of ");
  expect(await stack.vireo([...args, "--fail"])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("2 of them are mended in newer packages"),
  });
});

it("takes the disk of an archive back, sent in parts; another file than was said is refused", async () => {
  const file = join(folder, "slim.ova");
  const { code, stdout, stderr } = await stack.vireo(["image", "import", "brought", file], {
    timeoutMs: 60_000,
  });
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/^image\/brought is ready: brought-[0-9a-f]{12}\.qcow2$/m);
  const { status } = (await image("brought")) ?? {};
  expect(status?.virtualBytes).toBe((await image("slim"))?.status?.virtualBytes);
  const other = await stack.vireo(["image", "import", "other", file, "--sha256", "0".repeat(64)]);
  expect(other.stderr).toMatch(/^vireo: .*slim\.ova: has the sha256 [0-9a-f]{64}, --sha256 says 000/);
  const taken = await stack.vireo(["image", "import", "slim", file]);
  expect(taken.stderr).toMatch(/^vireo: image\/slim is there already, and is not of this file/);
  const nowhere = ["image", "import", "far", "http://127.0.0.1:9/x", "--sha256", "0".repeat(64), "--detach"];
  expect((await stack.vireo(nowhere)).code).toBe(0);
  await until("it to be tried", 30_000, async () =>
    (await image("far"))?.status?.progress?.includes("tried again"),
  );
  const cancelled = await stack.vireo(["image", "cancel", "far"]);
  expect(cancelled.stdout).toBe("the import of image/far was ended; nothing is left of it\n");
  await until("nothing to be left", 30_000, async () => built().every((name) => !name.startsWith(".")));
});

it("answers a picker of packages", async () => {
  const base = "/apis/vireo.dev/v1/distributions/debian-bookworm";
  const get = async (path: string): Promise<unknown> => {
    const { code, stdout, stderr } = await stack.kubectl(["get", "--raw", `${base}/${path}`]);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  expect(await get("packages?search=nginx&limit=1")).toMatchObject({
    kind: "PackageList",
    metadata: { continue: "1", remainingItemCount: expect.any(Number) },
    items: [{ name: "nginx", section: "httpd" }],
  });
  expect(await get("closure?package=nginx-light&package=nginx-ligth")).toMatchObject({
    kind: "PackageClosure",
    packages: expect.arrayContaining([
      expect.objectContaining({ name: "nginx-common", because: expect.any(String) }),
      expect.objectContaining({ name: "busybox-static", base: true }),
    ]),
    unknown: [{ name: "nginx-ligth", nearest: ["nginx-light"] }],
    conflicts: [],
  });
  const found = await stack.vireo(["image", "packages", "nginx", "--limit", "1"]);
  expect(found.stdout).toMatch(/^nginx {2}\(httpd, .*\) {2}small, powerful.*\nand \d+ more;/m);
  const wrong = await stack.vireo(["image", "packages", "--closure", "nginx-ligth"]);
  expect(wrong.stderr).toBe("vireo: there is no package nginx-ligth; did you mean nginx-light?\n");
  expect(wrong.stdout).toMatch(/^busybox-static \S+ {2}.*, in every image$/m);
  await expect(get("closure?mode=fat")).rejects.toThrow("the parameter mode is slim or full");
  const server = await get("closure?mode=full&profile=server&package=nginx-light");
  expect(server).toMatchObject({
    packages: expect.arrayContaining([
      expect.objectContaining({ name: "openssh-server", base: true }),
      expect.objectContaining({ name: "nginx-light" }),
    ]),
  });
  await expect(get("closure?profile=server")).rejects.toThrow("set spec.recipe.mode to full");
  const text = ["image", "packages", "--closure", "nginx-light", "--mode", "full", "--profile", "text"];
  expect((await stack.vireo(text)).stdout).toMatch(/^man-db \S+ {2}.*, in every image of the profile text$/m);
});

it("boots the one disk by BIOS and by UEFI", async () => {
  // UEFI firmware alone takes more than 100 MiB.
  const promoted = await stack.vireo(["image", "promote", "slim:1", "stable"]);
  expect(promoted.code, promoted.stderr).toBe(0);
  const listed = await stack.vireo(["image", "versions", "slim"]);
  expect(listed.stdout).toMatch(/^slim:1 {2}slim-[0-9a-f]{12}\.qcow2, .*\(newest, stable\)$/m);
  const wrong = await stack.vireo(["image", "promote", "slim:9", "stable"]);
  expect(wrong.stderr).toBe("vireo: image/slim has no version or channel 9; it has 1, stable\n");
  const web = (name: string, firmware: "bios" | "uefi", memory: string) =>
    stack.client.create(VirtualMachine, {
      metadata: { name, namespace: "default" },
      spec: { memory, image: "slim:stable", hardware: { firmware }, readiness: { http: { port: 80 } } },
    });
  await Promise.all([web("by-bios", "bios", "96Mi"), web("by-uefi", "uefi", "256Mi")]);
  for (const name of ["by-bios", "by-uefi"]) {
    const get = () => stack.client.get(VirtualMachine, { namespace: "default", name });
    const address = await until(
      `vm/${name} to answer`,
      120_000,
      async () => {
        const { phase, addresses } = (await get())?.status ?? {};
        return phase === "Running" ? addresses?.[0] : undefined;
      },
      async () => JSON.stringify((await get())?.status),
    );
    const answer = await fetch(`http://${address}/`, { signal: AbortSignal.timeout(10_000) });
    expect(await answer.text()).toBe("all in memory\n");
  }
});

it("tells a wrong name of a package with what may be meant; the image stays what it was", async () => {
  const before = built();
  const args = ["image", "build", "slim", "--package", "nginx-ligth"];
  const { code, stderr } = await stack.vireo(args, { timeoutMs: 60_000 });
  expect(code).toBe(1);
  expect(stderr).toContain('there is no package "nginx-ligth"; did you mean "nginx-light"?');
  expect((await image("slim"))?.status).toMatchObject({ phase: "Ready", build: "slim-1" });
  expect(built()).toEqual(before);
  const log = await stack.vireo(["image", "log", "slim"]);
  expect(log.stdout).toContain('failed: there is no package "nginx-ligth"');
});

it("tells a wrong field of a recipe before anything begins", async () => {
  writeFileSync(join(folder, "wrong.yaml"), "packges: [nginx-light]\n");
  const { code, stderr } = await stack.vireo(["image", "build", join(folder, "wrong.yaml")]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/wrong\.yaml: packges: a recipe has no such field.*packages/);
  writeFileSync(join(folder, "wrong.yaml"), "packages: []\nboot: grub\n");
  const second = await stack.vireo(["image", "build", join(folder, "wrong.yaml")]);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/spec\.recipe\.boot.*"grub"/s);
});

it("ends a build that is cancelled, and leaves nothing of it", async () => {
  const before = built();
  const detached = await stack.vireo(["image", "build", "other", "--package", "nginx-light", "--detach"]);
  expect(detached.code, detached.stderr).toBe(0);
  const cancelled = await stack.vireo(["image", "cancel", "other"]);
  expect(cancelled.code, cancelled.stderr).toBe(0);
  const build = await until("the build to end", 30_000, async () => {
    const now = await stack.client.get(ImageBuild, { name: "other-1" });
    return now?.status?.finishedTime ? now : undefined;
  });
  expect(build.status?.phase).toBe("Cancelled");
  expect(built()).toEqual(before);
  expect(await image("other")).toBeUndefined();
  const again = await stack.vireo(["image", "cancel", "other-1"]);
  expect(again.stderr).toBe("vireo: imagebuild/other-1 is over already: Cancelled\n");
});

it("goes on with a build whose control plane was killed, and leaves nothing of the first attempt", async () => {
  const recipe = join(folder, "killed.yaml");
  // With the same packages as the other: a CD has a loader of its own.
  writeFileSync(recipe, `${RECIPE.replace("all in memory", "built twice")}formats: [iso]\n`);
  const detached = await stack.vireo(["image", "build", recipe, "--detach"]);
  expect(detached.code, detached.stderr).toBe(0);
  await until("the build to begin", 30_000, async () =>
    built().some((name) => name.startsWith(".build-killed-")) ? true : undefined,
  );
  await stack.kill("control-plane");
  expect(built().filter((name) => name.startsWith(".build-killed-"))).toHaveLength(1);
  await stack.restart("control-plane");
  await until("the image", 90_000, async () =>
    (await image("killed").catch(() => undefined))?.status?.phase === "Ready" ? true : undefined,
  );
  expect((await stack.client.get(ImageBuild, { name: "killed-1" }))?.status?.phase).toBe("Succeeded");
  expect(built().filter((name) => name.startsWith("."))).toEqual([]);
});

it("takes an application's folder of 50 MB: in an archive beside the recipe, which is sent, waited for, and kept while it is named", async () => {
  const bytes = randomBytes(50 * 2 ** 20);
  mkdirSync(join(folder, "app"));
  writeFileSync(join(folder, "app/data"), bytes);
  symlinkSync("data", join(folder, "app/link"));
  const tar = join(folder, "app.tar");
  execFileSync("tar", ["-C", folder, "-cf", tar, "app"]);
  const recipe = join(folder, "large.yaml");
  const text = "packages: []\nguestAgent: false\narchives:\n  - { file: app.tar, path: /srv";
  writeFileSync(recipe, `${text} }\n`);
  const { code, stdout, stderr } = await stack.vireo(["image", "build", recipe], { timeoutMs: 180_000 });
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/^imagebuild\/large-1: app\.tar: 50 % of \d+ bytes sent$/m);
  const list = join(folder, "large.mtree");
  const listed = await stack.vireo(["image", "export", "large", "--format", "files", "-o", list]);
  expect(listed.code, listed.stderr).toBe(0);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  expect(readFileSync(list, "utf8")).toMatch(new RegExp(`srv/app/data .*${sha256}`));
  expect(readFileSync(list, "utf8")).toMatch(/srv\/app\/link .*link=data/);
  // Whoever names it again need not send it; who names another waits for it, and others do not wait for them.
  rmSync(tar);
  expect((await stack.vireo(["image", "build", recipe])).stderr).toMatch(
    /large\.yaml: archives\[0\]\.file: there is no .*app\.tar, nor a sha256/,
  );
  const { archives } = (await image("large"))?.spec.recipe ?? {};
  expect(archives).toHaveLength(1);
  writeFileSync(recipe, `${text}, sha256: ${"a".repeat(64)}, bytes: 1024 }\n`);
  const waiting = await stack.vireo(["image", "build", recipe, "--name", "waiting", "--detach"]);
  expect(waiting.code, waiting.stderr).toBe(0);
  const status = async () => (await stack.client.get(ImageBuild, { name: "waiting-1" }))?.status;
  await until("it waits", 20_000, async () =>
    (await status())?.message?.startsWith("waits for app.tar (sha256 aaaaaaaaaaaa…)") ? true : undefined,
  );
  const verified = await stack.vireo(["image", "verify", "large"], { timeoutMs: 180_000 });
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
  expect((await stack.vireo(["image", "cancel", "waiting"])).code).toBe(0);
  await until("its end", 20_000, async () => ((await status())?.phase === "Cancelled" ? true : undefined));
  expect(readdirSync(join(stack.paths.pool, "images/.archives"))).toEqual([archives?.[0]?.sha256]);
}, 300_000);

it("tells what is other in one image than in another", async () => {
  const { code, stdout, stderr } = await stack.vireo(["image", "diff", "slim-1", "killed", "--files"]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^the same packages\n\nfiles: 0 added, 0 removed, \d changed\n/);
  expect(stdout).toMatch(/^~ \/srv\/www\/index\.html$/m);
  expect(stdout).toMatch(/^disk +[\d.]+ MiB +[\d.]+ MiB +[+-][\d.]+ MiB$/m);
  expect((await stack.vireo(["image", "diff", "slim", "nothing"])).stderr).toMatch(
    /^vireo: there is no image nothing/,
  );
});

it("files of images that are gone go from the pool, archives too; those of machines that run stay, and go with them", async () => {
  const collector = new ImageCollector(
    { client: stack.client, clock: systemClock, log: silentLogger, signal: new AbortController().signal },
    { everyMs: 0, graceMs: 0, scanMs: 0 },
  );
  const removed = async () => (await collector.pass()).map((file) => file.replace(/-[0-9a-f]{12}.*$/, ""));
  const slim = () =>
    built()
      .filter((file) => file.startsWith("slim-"))
      .sort();
  const before = slim();
  expect(before.length).toBeGreaterThan(3);
  // All of them are images'.
  await removed();
  expect(await removed()).toEqual([]);
  for (const name of ["killed", "large"]) await stack.client.delete(Image, { name });
  // Looked at twice; machines of slim run meanwhile, with disks on its files.
  await removed();
  expect(new Set(await removed())).toEqual(new Set(["killed", "large"]));
  expect(built().filter((file) => /^(?:killed|large)-/.test(file))).toEqual([]);
  expect(readdirSync(join(stack.paths.pool, "images/.archives"))).toEqual([]);
  expect(slim()).toEqual(before);
  const machines = ["by-bios", "by-uefi"].map((name) => ({ namespace: "default", name }));
  for (const machine of machines) await stack.client.delete(VirtualMachine, machine);
  await until("the machines to be gone", 60_000, async () => {
    const left = await Promise.all(machines.map((machine) => stack.client.get(VirtualMachine, machine)));
    return left.every((each) => each === undefined) ? true : undefined;
  });
  await stack.client.delete(Image, { name: "slim" });
  await removed();
  expect(new Set(await removed())).toEqual(new Set(["slim"]));
  expect(slim()).toEqual([]);
}, 120_000);
