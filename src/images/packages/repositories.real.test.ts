/** A repository of somebody else: made here, signed with a key made here, served over HTTP. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import { type ServedFolder, serveFolder } from "../testing/serve-folder.ts";
import { Packages } from "./packages.ts";

let folder: string;
let served: ServedFolder;
const keys: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-repository-"));
  const at = (name: string) => join(folder, name);
  const gpg = (home: string, ...args: string[]) => run("gpg", ["--homedir", at(home), "--batch", ...args]);
  for (const home of ["theirs", "other"]) {
    mkdirSync(at(home), { mode: 0o700 });
    await gpg(home, "--passphrase", "", "--quick-gen-key", `${home}@example`, "ed25519", "sign", "never");
    keys.push(await gpg(home, "--armor", "--export"));
  }
  mkdirSync(at("tree/DEBIAN"), { recursive: true });
  mkdirSync(at("tree/usr/bin"), { recursive: true });
  writeFileSync(at("tree/usr/bin/greeting"), "#!/bin/sh\necho hello\n", { mode: 0o755 });
  writeFileSync(
    at("tree/DEBIAN/control"),
    "Package: vireo-greeting\nVersion: 1.2-3\nArchitecture: all\nMaintainer: nobody <n@example>\nDepends: netbase\nDescription: a greeting\n",
  );
  mkdirSync(at("served"));
  await run("dpkg-deb", ["--root-owner-group", "-Zgzip", "-b", at("tree"), at("served/greeting.deb")]);
  const sum = async (name: string) => (await run("sha256sum", [at(`served/${name}`)])).split(" ")[0];
  const size = (name: string) => readFileSync(at(`served/${name}`)).length;
  writeFileSync(
    at("served/Packages"),
    `${(await run("dpkg-deb", ["-f", at("served/greeting.deb")])).trimEnd()}\nFilename: ./greeting.deb\nSize: ${size("greeting.deb")}\nSHA256: ${await sum("greeting.deb")}\n\n`,
  );
  writeFileSync(
    at("served/Release"),
    `Date: ${new Date().toUTCString().replace("GMT", "UTC")}\nSHA256:\n ${await sum("Packages")} ${size("Packages")} Packages\n`,
  );
  await gpg("theirs", "--clearsign", "--output", at("served/InRelease"), at("served/Release"));
  for (const home of ["theirs", "other"]) await run("gpgconf", ["--homedir", at(home), "--kill", "all"]);
  served = await serveFolder(at("served"));
});
afterAll(() => {
  served.close();
  rmSync(folder, { recursive: true, force: true });
});

const from = (key: string | undefined) =>
  new Packages(join(folder, "cache"), "bookworm", undefined, {
    repositories: [{ uri: served.uri, suites: ["./"], key: key ?? "" }],
  });

it("is a source of packages beside Debian's, when it is signed with the key", async () => {
  const found = await from(keys[0]).fetch(["vireo-greeting"]);
  expect(found.map(({ name }) => name).sort()).toEqual(["netbase", "vireo-greeting"]);
  expect(found.find(({ name }) => name === "vireo-greeting")).toMatchObject({
    version: "1.2-3",
    sha256: (await run("sha256sum", [join(folder, "served/greeting.deb")])).split(" ")[0],
  });
}, 120_000);

it("that is signed by somebody else, or is not there, is refused by its field", async () => {
  await expect(from(keys[1]).fetch(["vireo-greeting"])).rejects.toThrow(
    /^recipe\.repositories\[0\]: http:\/\/127\.0\.0\.1:\d+ is not signed with its key/,
  );
  served.close();
  await expect(from(`${keys[0]}\n`).fetch(["vireo-greeting"])).rejects.toThrow(
    /^recipe\.repositories\[0\]: http:\/\/127\.0\.0\.1:\d+ cannot be read/,
  );
}, 240_000);
