/**
 * The launcher `vireo` on machines that lack something, each made of a folder of programs that is the whole PATH. The way it
 * installs is tested by CI itself, which begins on a machine where nothing was installed.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { ROOT, run } from "./support/stack.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-launcher-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A checkout without node_modules. */
const checkout = join(folder, "checkout");
const programs = join(folder, "bin");

/** What any shell brings. */
const TOOLS = [
  "sh",
  "dirname",
  "readlink",
  "mktemp",
  "tail",
  "head",
  "grep",
  "cmp",
  "cp",
  "rm",
  "cat",
  "sed",
  "tr",
];
function program(name: string, script: string): void {
  writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(programs, name), 0o755);
}

beforeEach(() => {
  for (const path of [checkout, programs]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
  }
  copyFileSync(join(ROOT, "vireo"), join(checkout, "vireo"));
  writeFileSync(join(checkout, "package-lock.json"), "{}");
  for (const tool of TOOLS)
    symlinkSync(
      execFileSync("sh", ["-c", `command -v ${tool}`])
        .toString()
        .trim(),
      join(programs, tool),
    );
  program("id", "echo 0");
  program("uname", "case $1 in -m) echo x86_64 ;; *) echo Linux ;; esac");
});

const launch = (...args: string[]) =>
  run("/bin/sh", [join(checkout, "vireo"), ...args], { env: { PATH: programs, TMPDIR: folder } });

describe("the launcher says what to install by hand", () => {
  it("when it is not root", async () => {
    program("id", "echo 1000");
    program("apt-get", "exit 1");
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toContain(
      "vireo: packages are missing and only root can install them.\n       as root: apt-get install ",
    );
    expect(stderr).toContain(" npm");
  });

  it("when there is no apt-get", async () => {
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /vireo: packages are missing and this system has no apt-get\.\n {7}install by hand: .*npm/,
    );
  });

  it("when the system is not Linux", async () => {
    program("uname", "case $1 in -m) echo x86_64 ;; *) echo Darwin ;; esac");
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toMatch(/vireo: this is Darwin; Vireo runs on Linux\.\n {7}install by hand: /);
  });

  it.each(["aarch64", "riscv64"])("when the processor is of another kind: %s", async (machine) => {
    program("uname", `case $1 in -m) echo ${machine} ;; *) echo Linux ;; esac`);
    const { code, stderr } = await launch("up");
    expect(code).toBe(1);
    expect(stderr).toBe(`vireo: this machine is a ${machine}; Vireo runs on x86_64.\n`);
  });

  it("when apt-get has no network: its own words, and the log", async () => {
    program("apt-get", "echo 'E: Could not resolve deb.debian.org'; exit 100");
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toMatch(/vireo: installing npm: installs the JavaScript packages of the lockfile\n/);
    expect(stderr).toMatch(
      /E: Could not resolve deb\.debian\.org\nvireo: apt-get could not install:.* npm\n/,
    );
    expect(stderr).toContain("without a network: install these packages by hand");
  });

  it("what a recipe's distribution is built with, and reads no more of a named file than a recipe may have", async () => {
    program("apt-get", "exit 100");
    const at = (name: string, content: string) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const recipe = at("web.yaml", "recipe:\n  distribution: fedora\n");
    const disk = at("disk.raw", "");
    truncateSync(disk, 2 ** 40);
    const said = async (...args: string[]) => (await launch(...args)).stderr;
    const dnf = "installs the packages of images of Fedora";
    expect(await said("image", "build", "web", recipe)).toContain(dnf);
    expect(await said("apply", "-f", recipe)).toContain(dnf);
    expect(await said("image", "import", "web", recipe)).not.toContain(dnf);
    expect(await said("image", "import", "web", disk)).toContain(" npm");
    expect(await said("apply", "-f", disk)).not.toContain(dnf);
  });

  it.each([
    [[]],
    [["--state", "/var/lib/vireo-agent"]],
    [["--state=/var/lib/vireo-agent"]],
    [["--state", "agent", "--state=up"]],
  ])("what a host needs, also where the state folder is named before the verb: %j", async (before) => {
    program("apt-get", "exit 100");
    const said = async (...verb: string[]) => (await launch(...before, ...verb)).stderr;
    const qemu = "installing qemu-system-x86: runs the virtual machines\n";
    const ipmi = "installing ipmitool: switches hosts on and off through their BMCs\n";
    const agent = await said("agent", "--name", "rack-2");
    expect(agent).toContain(qemu);
    expect(agent).not.toContain(ipmi);
    const up = await said("up");
    expect(up).toContain(qemu);
    expect(up).toContain(ipmi);
    expect(await said("get", "vm")).not.toContain(qemu);
    expect(await said()).not.toContain(qemu);
  });

  it("when node_modules is a link to another checkout's, which npm would empty", async () => {
    const other = join(folder, "other");
    mkdirSync(other, { recursive: true });
    writeFileSync(join(other, "kept"), "");
    symlinkSync(other, join(checkout, "node_modules"));
    program("npm", `rm -f ${other}/*`);
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toContain("node_modules is a link to packages of another package-lock.json");
    expect(existsSync(join(other, "kept"))).toBe(true);
  });

  it("when npm fails: its reason, not its usage", async () => {
    program("npm", "echo 'npm error network request failed'; echo 'npm error'; exit 1");
    const { code, stderr } = await launch("kubeconfig");
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /npm error network request failed\nvireo: npm ci failed; its first lines are above, all of them in /,
    );
  });
});

describe("with everything in place", () => {
  it("runs from any folder and through a link", async () => {
    const link = join(folder, "link");
    if (!existsSync(link)) symlinkSync(join(ROOT, "vireo"), link);
    const { code, stdout } = await run(link, ["--state", "/nowhere", "kubeconfig"]);
    expect([code, stdout]).toEqual([0, "/nowhere/kubeconfig\n"]);
  });
});
