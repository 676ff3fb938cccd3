/**
 * A second machine as a host, by the commands of docs/more-hosts.md: days after the first start it comes in by a file of `vireo enrol`, and runs a machine. Two
 * network namespaces play the machines; they see one folder, as if it were mounted on both.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeBootDisk } from "../src/qemu/testing/boot-sectors.ts";
import { ownFolder, removeAbandoned } from "../src/system/testing/owned-folder.ts";
import { type Ran, ROOT, run } from "./support/stack.ts";

const [FIRST, SECOND] = ["10.241.7.1", "10.241.7.2"];
const MACHINES = `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: button }
spec: { storagePool: default, file: button.raw }
---
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: far }
spec: { memory: 64Mi, image: button, readiness: { none: true } }
`;

let folder: string;
let spaces: [string, string];
let agent: ChildProcess | undefined;

const ip = async (...args: string[]) => {
  const { code, stderr } = await run("ip", args);
  expect([args.join(" "), code, stderr]).toEqual([args.join(" "), 0, ""]);
};
const inside = (at: string, ...args: string[]) => ["netns", "exec", at, join(ROOT, "vireo"), ...args];
/** On the first machine. */
const vireo = (...args: string[]): Promise<Ran> =>
  run("ip", inside(spaces[0], "--state", join(folder, "first"), ...args), { timeoutMs: 240_000 });
const ok = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await vireo(...args);
  expect([args.join(" "), code, stderr]).toEqual([args.join(" "), 0, ""]);
  return stdout;
};

beforeAll(async () => {
  folder = ownFolder("vireo-hosts-");
  const id = folder.slice(-6);
  spaces = [`vireo-${id}-1`, `vireo-${id}-2`];
  for (const at of spaces) await ip("netns", "add", at);
  const [a, b] = spaces;
  await ip("link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b);
  for (const [at, address] of [
    [a, FIRST],
    [b, SECOND],
  ] as const) {
    await ip("-n", at, "addr", "add", `${address}/24`, "dev", "eth0");
    for (const link of ["lo", "eth0"]) await ip("-n", at, "link", "set", link, "up");
  }
});
afterAll(async () => {
  agent?.kill("SIGKILL");
  await vireo("down", "--keep");
  // Machines that a failed test has left.
  await removeAbandoned(folder);
  for (const at of spaces) await run("ip", ["netns", "del", at]);
});

it("a second machine comes in by `vireo enrol` after the first day, and runs a machine", async () => {
  await ok("up", "--address", FIRST, "--detach");
  // Its first file is spent a day later, as on the day after.
  const [spent, fresh] = [join(folder, "spent.json"), join(folder, "host.json")];
  const pki = join(folder, "first", "pki");
  copyFileSync(join(pki, "enrolment.json"), spent);
  rmSync(join(pki, "enrolment.json"));
  const tokens: { user?: object }[] = JSON.parse(readFileSync(join(pki, "tokens.json"), "utf8"));
  writeFileSync(join(pki, "tokens.json"), JSON.stringify(tokens.filter(({ user }) => user)));

  const told = await ok("enrol", fresh);
  expect((await vireo("enrol", fresh)).stderr).toContain("exists already");
  const [, command = ""] = /^ {2}\.\/vireo (.*)$/m.exec(told) ?? [];
  const words = command
    .replace("--name NAME --address IP", `--name second --address ${SECOND}`)
    .replace("/var/lib/vireo-agent", join(folder, "second"))
    .split(" ");
  const late = await run("ip", inside(spaces[1], ...words.map((word) => (word === fresh ? spent : word))));
  expect(late.stderr).toContain("unknown or expired bootstrap token; `vireo enrol FILE`");

  agent = spawn("ip", inside(spaces[1], ...words), { stdio: "ignore" });
  await ok("wait", "host/second", "--for=create", "--timeout", "2m");
  await ok("wait", "host/second", "--for=condition=Ready", "--timeout", "1m");
  // It is in: the file is of no use to it any more.
  rmSync(fresh);

  const images = join(folder, "first", "pool", "images");
  mkdirSync(images, { recursive: true });
  writeBootDisk(join(images, "button.raw"), "button");
  chmodSync(join(images, "button.raw"), 0o644);
  writeFileSync(join(folder, "far.yaml"), MACHINES);
  await ok("cordon", hostname().split(".")[0]?.toLowerCase() ?? "");
  await ok("apply", "-f", join(folder, "far.yaml"));
  await ok("wait", "vm/far", "--for=jsonpath={.status.phase}=Running", "--timeout", "2m");
  expect(await ok("get", "vm", "far", "-o", "jsonpath={.status.host}")).toBe("second");
  const pids = (await run("ip", ["netns", "pids", spaces[1]])).stdout.trim().split("\n");
  const commands = pids.map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8"));
  expect(commands).toContainEqual(expect.stringMatching(/^qemu-system-x86_64\0.*guest=far/s));
});

it("`vireo down` does not leave a machine behind there, with nobody to stop it", async () => {
  const refused = await vireo("down", "--yes");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining("virtualmachine/far on second"),
  ]);
  await ok("delete", "vm/far");
  expect(await ok("down", "--yes")).toContain("removed");
});
