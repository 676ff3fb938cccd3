/** From a program that was copied out of its package to an image that starts it: what it needs is known by its file and a run alone. */
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Value } from "typebox/value";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse } from "yaml";
import { CACHE } from "../../cli/paths.ts";
import { run } from "../../system/run.ts";
import { buildImage } from "../build/builder.ts";
import { Packages } from "../packages/packages.ts";
import { Recipe } from "../recipe.ts";
import { bootUntil } from "../testing/boot.ts";
import { analyzeApplication } from "./analyze.ts";
import { forRecipe, markBrought } from "./distribution.ts";
import { movedCommand, recipeFiles, recipeFolders } from "./own-files.ts";
import { recipeText } from "./recipe-of.ts";
import { traceRun } from "./trace.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vireo-appliance-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("libraries by its file, data by its run; the image has them and the program, and starts it", async () => {
  const release = "bookworm";
  const packages = new Packages(CACHE, release);
  // file(1): linked with libmagic1; its data are in libmagic-mgc.
  const debs = await packages.fetch(["file"]);
  const [root, app] = [join(folder, "root"), join(folder, "app")];
  for (const { file } of debs) await run("dpkg-deb", ["-x", file, root]);
  await mkdir(join(app, "bin"), { recursive: true });
  await copyFile(join(root, "usr/bin/file"), join(app, "bin/what-is"));

  const command = `${app}/bin/what-is -bL /etc/os-release`;
  const env = `LD_LIBRARY_PATH=${root}/usr/lib/x86_64-linux-gnu MAGIC=${root}/usr/lib/file/magic.mgc`;
  const trace = await traceRun(`${env} ${command}`, join(folder, "trace"), {
    limitMs: 30_000,
    signal: new AbortController().signal,
    root,
  });
  const contents = await packages.contents();
  const subject = { path: app, traces: [{ name: "the run", trace }] };
  const analyzed = await analyzeApplication(subject, contents, release).finally(() => contents.close());
  const found = (name: string) => analyzed.findings.find((finding) => finding.package === name);
  expect(found("libmagic1")?.evidence).toContainEqual(
    expect.objectContaining({
      file: "bin/what-is",
      how: "linked",
      what: "libmagic.so.1",
      confidence: "certain",
    }),
  );
  expect(found("libmagic-mgc")?.evidence).toMatchObject([{ how: "opened", path: "usr/lib/file/magic.mgc" }]);
  // Its own package is none of them: it was copied out.
  expect(found("file")).toBeUndefined();

  await markBrought(analyzed.findings, (names) => packages.broughtAlong(names));
  expect(forRecipe(analyzed.findings).map((finding) => finding.package)).toEqual(["base-files", "libmagic1"]);
  const own = await recipeFiles(analyzed.files);
  if (!("files" in own)) throw new Error("its files are not in the recipe");
  expect(own.files).toMatchObject([{ path: "/opt/app/bin/what-is", mode: "0755", encoding: "base64" }]);
  const started = movedCommand(command, app, analyzed.place ?? "", "/");
  expect(started).toBe("/opt/app/bin/what-is -bL /etc/os-release");
  const text = recipeText({
    asked: "a test",
    release,
    findings: analyzed.findings,
    archives: [],
    directories: recipeFolders(analyzed.folders).directories,
    traced: analyzed.traced,
    services: [{ name: "what-is", command: started }],
    files: own.files,
  });
  expect(text).toMatch(/^ {2}- libmagic1 # (?:bin\/what-is: linked libmagic\.so\.1|the run: opened \S+)$/m);

  const recipe = Value.Parse(Recipe, { ...parse(text), minimize: true, guestAgent: false });
  const lines: string[] = [];
  const built = await buildImage({
    name: "app",
    recipe,
    folder: join(folder, "images"),
    cache: CACHE,
    log: (line) => lines.push(line),
    progress: () => {},
  });
  // What went, with bytes; what the run has used stayed.
  expect(
    lines.find((line) => /^left out, because neither the run .* \(\d+, [\d.]+ MiB\):$/.test(line)),
  ).toBeTruthy();
  expect(lines.some((line) => /^ {2}\/usr\/share\/\S+ \d+$/.test(line))).toBe(true);
  expect(lines.filter((line) => /^ {2}\S*\/magic\.mgc [1-9]/.test(line))).toEqual([]);
  const boot = { memoryMiB: 128, timeoutMs: 120_000 };
  const { said } = await bootUntil(join(folder, "images"), built, /ASCII text/, boot);
  expect(said).toContain("ASCII text");
});
