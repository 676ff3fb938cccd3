/** What a slim machine does when it starts, and with an address that it is given; its programs are scripts here. */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { fullFiles } from "../full/full-files.ts";
import type { Recipe } from "../recipe.ts";
import { guestFiles } from "./slim-files.ts";
import { WAITING_SCRIPT } from "./waiting-shell.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "vireo-udhcpc-"));
  for (const folder of ["bin", "etc"]) mkdirSync(join(root, folder));
  for (const name of ["ip", "arping"]) {
    writeFileSync(join(root, "bin", name), `#!/bin/sh\necho ${name} "$@" >> ${root}/said\n`);
    chmodSync(join(root, "bin", name), 0o755);
  }
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** @returns the programs that it ran */
function event(what: string, more: Partial<Recipe> = {}): string {
  const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: [], ...more };
  const script = guestFiles(recipe).find(({ path }) => path === "/etc/vireo/udhcpc")?.content;
  writeFileSync(join(root, "said"), "");
  // Through cat: what it leaves running in the background is over when its output is.
  execFileSync("sh", ["-c", `(${String(script).replaceAll("/etc/", `${root}/etc/`)}) | cat`, "sh", what], {
    env: {
      PATH: `${join(root, "bin")}:${process.env.PATH}`,
      ...{ interface: "eth0", ip: "10.0.0.2", mask: "24", router: "10.0.0.1", dns: "10.0.0.3 10.0.0.4" },
    },
  });
  return readFileSync(join(root, "said"), "utf8");
}
const resolvers = () => readFileSync(join(root, "etc/resolv.conf"), "utf8");

it("is set up, told to the neighbours, and brings its name servers", () => {
  const said = event("bound");
  expect(said).toContain("ip addr replace 10.0.0.2/24 dev eth0\n");
  expect(said).toContain("arping -q -U -c 1 -w 1 -I eth0 10.0.0.2\n");
  expect(resolvers()).toBe("nameserver 10.0.0.3\nnameserver 10.0.0.4\n");
  expect(event("renew")).not.toContain("arping");
});

it("leaves the name servers that the recipe names", () => {
  writeFileSync(join(root, "etc/resolv.conf"), "nameserver 9.9.9.9\n");
  event("bound", { files: [{ path: "/etc//resolv.conf", content: "nameserver 9.9.9.9\n" }] });
  expect(resolvers()).toBe("nameserver 9.9.9.9\n");
});

it("folders where only memory is are made at each start", () => {
  const directories = ["/run/it's", "/tmp/../tmp/work", "/srv/data", "/run"];
  const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: [], directories };
  const boot = String(guestFiles(recipe).find(({ path }) => path === "/etc/vireo/boot")?.content);
  const made = boot.match(/^mkdir -p -- .*$/gm) ?? [];
  expect(boot.indexOf(" tmpfs /tmp\n")).toBeLessThan(boot.indexOf("mkdir -p -- "));
  execFileSync("sh", ["-ec", made.join("\n").replaceAll("-- '/", `-- '${root}/`)]);
  expect(readdirSync(join(root, "run"))).toEqual(["it's"]);
  expect(readdirSync(join(root, "tmp"))).toEqual(["work"]);
  expect(made).toHaveLength(2);
  const full = fullFiles({ ...recipe, mode: "full", directories: ['/run/50% "x"', "/srv/data"] });
  expect(full.find(({ path }) => path.startsWith("/etc/tmpfiles.d/"))?.content).toBe(
    'd "/run/50%% \\"x\\"" 0755 root root -\n',
  );
});

it("has a shell that waits at a pipe for what it is to run, again and again, as long as there is a guest agent", async () => {
  const pipe = join(root, "pipe");
  const script = WAITING_SCRIPT.replace(/^pipe=.*/m, `pipe=${pipe}`);
  const shell = spawn("sh", ["-c", script]);
  let said = "";
  shell.stdout.on("data", (data) => {
    said += data;
  });
  try {
    await expect.poll(() => statSync(pipe, { throwIfNoEntry: false })?.mode).toBe(0o10600);
    for (const word of ["one", "two"]) {
      await writeFile(pipe, `set -e\nsay() {\n  echo ${word}\n}\nsay\n`);
      await expect.poll(() => said).toContain(`${word}\n`);
    }
  } finally {
    shell.kill("SIGKILL");
  }
  const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
  const has = (more: Partial<Recipe>) =>
    guestFiles({ ...recipe, ...more }).some(({ content }) => content?.includes("waiting-shell"));
  expect([has({}), has({ guestAgent: false })]).toEqual([true, false]);
});
