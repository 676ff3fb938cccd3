/** What the first-boot script makes of seeds as the hosts write them; its disks are folders here. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SEED_SERIAL, type Seed, seedFiles } from "../seed.ts";
import { firstBootFiles, SEED_SCRIPT } from "./first-boot.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "vireo-first-boot-"));
  for (const folder of ["bin", "dev", "etc", "root", "sys/block"])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 vireo\n");
  writeFileSync(join(root, "etc/hostname"), "vireo\n");
  program("findfs", `grep -lx "$1" ${root}/dev/*/about | grep -o '.*/'`);
  program("mount", 'for last; do :; done; cp "$5"/* "$last"');
  for (const name of ["umount", "hostname"]) program(name, "");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function program(name: string, text: string): void {
  const path = join(root, "bin", name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

/** @param serial of one that can only be read */
function disk(name: string, label: string, files: Readonly<Record<string, string>>, serial?: string): void {
  const at = join(root, "dev", name);
  const sys = join(root, "sys/block", name);
  for (const folder of [at, sys]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(sys, "serial"), `${serial ?? ""}\n`);
  writeFileSync(join(sys, "ro"), serial === undefined ? "0\n" : "1\n");
  const about = `LABEL=${label}\n`;
  for (const [file, text] of Object.entries({ ...files, about })) writeFileSync(join(at, file), text);
}

const seed = (hostname: string, keys: readonly string[] = []): Record<string, string> =>
  seedFiles({ instanceId: "id-1", hostname, sshAuthorizedKeys: keys } satisfies Seed);

function boot(): void {
  const found = firstBootFiles({ distribution: "debian", release: "bookworm", packages: [] }).find(
    ({ path }) => path === SEED_SCRIPT,
  );
  const script = String(found?.content).replace(
    /(?<=[\s=])\/(?=(?:dev|etc|root|run|sys|var)\/)/g,
    `${root}/`,
  );
  const path = `${join(root, "bin")}:${process.env.PATH ?? ""}`;
  execFileSync("sh", ["-c", script], { env: { PATH: path }, stdio: "ignore" });
}
const has = (path: string) => readFileSync(join(root, path), "utf8");

it.each(["web-1", "123", "1e3", "true", "null"])("the host name is %s, without YAML's quotes", (name) => {
  disk("vdb", "CIDATA", seed(name));
  boot();
  expect(has("etc/hostname")).toBe(`${name}\n`);
  expect(has("etc/hosts")).toBe(`127.0.0.1 localhost\n127.0.1.1 ${name}\n`);
  expect(has("var/lib/vireo/instance-id")).toBe("id-1\n");
});

it("a data disk that is vfat, too, is no seed", () => {
  disk("vda", "DATA", seed("other", ["ssh-ed25519 AAAA stranger"]));
  disk("vdb", "CIDATA", seed("web-1", ["ssh-ed25519 AAAA me"]));
  boot();
  expect(has("etc/hostname")).toBe("web-1\n");
  expect(has("root/.ssh/authorized_keys")).toBe("ssh-ed25519 AAAA me\n");
});

it("nor is one with the seed's own label, wherever it is: a machine's seed is known by its disk", () => {
  const stranger = ["ssh-ed25519 AAAA stranger"];
  disk("vda", "CIDATA", seed("other", stranger));
  disk("vdb", "CIDATA", seed("web-1", ["ssh-ed25519 AAAA me"]), SEED_SERIAL);
  disk("vdc", "CIDATA", seed("another", stranger), "data");
  disk("vdd", "CIDATA", seed("another", stranger), SEED_SERIAL);
  boot();
  expect(has("etc/hostname")).toBe("web-1\n");
  expect(has("root/.ssh/authorized_keys")).toBe("ssh-ed25519 AAAA me\n");
});

it("keys are taken out of YAML's quotes, whichever", () => {
  const keys = [
    'from="10.0.0.1" ssh-ed25519 AAAA a',
    "ssh-ed25519 AAAA b: c",
    'command="x: y" ssh-ed25519 AAAA d',
  ];
  disk("vdb", "CIDATA", seed("web-1", keys));
  boot();
  expect(has("root/.ssh/authorized_keys")).toBe(keys.map((key) => `${key}\n`).join(""));
});

it("the image's own keys stay, with a seed that has none and beside those of one", () => {
  mkdirSync(join(root, "root/.ssh"));
  writeFileSync(join(root, "root/.ssh/authorized_keys"), "ssh-ed25519 AAAA image\n");
  disk("vdb", "CIDATA", seed("web-1"));
  boot();
  expect(has("root/.ssh/authorized_keys")).toBe("ssh-ed25519 AAAA image\n");
  rmSync(join(root, "dev/vdb"), { recursive: true });
  rmSync(join(root, "var/lib/vireo/instance-id"));
  disk("vdb", "CIDATA", seed("web-1", ["ssh-ed25519 AAAA me"]));
  boot();
  expect(has("root/.ssh/authorized_keys")).toBe("ssh-ed25519 AAAA image\nssh-ed25519 AAAA me\n");
});

it("without any seed the image's name stays", () => {
  boot();
  expect(has("etc/hostname")).toBe("vireo\n");
  expect(existsSync(join(root, "root/.ssh"))).toBe(false);
});
