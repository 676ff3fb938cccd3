/** Runs that strace watches, and processes that are looked at. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lookAt, parseTrace, quoted, traceNeeds, traceRun, wordsOf } from "./trace.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vireo trace-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const file = () => join(folder, `trace-${Math.random()}`);
const never = new AbortController().signal;

/** What has ended may wait to be asked for by its parent. */
const isAlive = (pid: string) =>
  existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

describe("a run that is watched", () => {
  it("tells what was opened and started, by all that it starts; not what was only looked for", async () => {
    const trace = await traceRun("cat /etc/debian_version /nosuch | sort -u; exit 3", file(), {
      limitMs: 20_000,
      signal: never,
    });
    expect([...trace.started].map((path) => path.replace(/^.*\//, "")).sort()).toEqual(["cat", "sort"]);
    expect([...trace.opened.keys()]).toContain("/etc/debian_version");
    expect([...trace.opened.keys()]).not.toContain("/nosuch");
    const needs = traceNeeds(trace, "the run");
    expect(needs.find(({ what }) => what.endsWith("/sort"))?.paths).toContain("usr/bin/sort");
  });

  it("is ended when its time is over, also what has left its group and does not listen", async () => {
    const pids = join(folder, "pids");
    const stubborn = `sh -c 'trap "" TERM; echo $$ >> "${pids}"; while :; do sleep 0.1; done'`;
    const command = `cat /etc/debian_version >/dev/null; setsid ${stubborn} & setsid sleep 1000 & echo $! >> "${pids}"; wait`;
    const begin = performance.now();
    const trace = await traceRun(command, file(), { limitMs: 700, graceMs: 300, signal: never });
    expect(performance.now() - begin).toBeLessThan(20_000);
    expect([...trace.opened.keys()]).toContain("/etc/debian_version");
    const left = (await readFile(pids, "utf8")).split("\n").filter(Boolean);
    expect(left).toHaveLength(2);
    for (const pid of left) expect(isAlive(pid), pid).toBe(false);
  });

  it("is ended also when its children have opened nothing, and start others all the time", async () => {
    // Both sides of a pipe are forked, and neither open nor start anything.
    const command = 'trap "" TERM; while :; do :; done | while :; do (:); done';
    const begin = performance.now();
    await traceRun(command, file(), { limitMs: 500, graceMs: 200, signal: never });
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  it("is an error when what it did cannot be read", async () => {
    const path = file();
    await expect(traceRun(`rm "${path}"`, path, { limitMs: 20_000, signal: never })).rejects.toThrow(
      "what the run did cannot be read: ENOENT",
    );
  });

  it("is an error when there is no such program", async () => {
    await expect(traceRun("/nosuch", file(), { limitMs: 20_000, signal: never })).rejects.toThrow(
      "/nosuch: could not be started",
    );
  });
});

it("strace's lines: paths with quotes and other letters, links followed, directories and what is only written left out", async () => {
  const text = [
    '1  execve("/bin/sh", ["sh"], 0x7 /* 1 var */) = 0',
    '1  openat(AT_FDCWD</w>, "a \\"b\\" \\303\\244", O_RDONLY|O_CLOEXEC) = 3</srv/a \\"b\\" \\303\\244>',
    '2  execve("bin/x", ["x", "= 0"], 0x7 /* 1 var */) = 0',
    '2  openat(AT_FDCWD</w>, "/srv", O_RDONLY|O_DIRECTORY) = 3</srv>',
    '2  openat(5</srv>, "log", O_WRONLY|O_CREAT, 0644) = 3</srv/log>',
    '2  open("/root/in/lib/libz.so.1", O_RDONLY) = 3</root/in/usr/lib/libz.so.1.2>',
    '2  openat(AT_FDCWD</w>, "/proc/self/maps", O_RDONLY) = 3</proc/2/maps>',
    '2  newfstatat(AT_FDCWD</w>, "seen", {st_mode=S_IFREG|0644, st_size=1, ...}, 0) = 0',
    '2  newfstatat(AT_FDCWD</w>, "unseen", 0x7, 0) = -1 ENOENT (No such file or directory)',
    '2  access("/etc/x", R_OK) = 0',
    '2  mkdir("/var/lib/a", 0777) = 0',
    '2  mkdirat(AT_FDCWD</w>, "/tmp/a", 0777) = 0',
    '2  openat(AT_FDCWD</w>, "/var/log/b/c.log", O_WRONLY|O_CREAT|O_APPEND, 0666) = 3</var/log/b/c.log>',
    '2  openat2(4</srv, x>, "y", {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24) = 3</srv, x/y>',
    '2  creat("/var/lib/c/new", 0644) = 3</var/lib/c/new>',
    '2  execveat(3</usr/bin/y>, "", ["y", "a) = 0"], 0x7 /* 1 var */, AT_EMPTY_PATH) = 0',
    '2  execve("/usr/bin/none", ["none", ") = 0"], 0x7 /* 1 var */) = -1 ENOENT (No such file or directory)',
    '2  newfstatat(3</srv/open>, "", {st_mode=S_IFREG|0644, st_size=1, ...}, AT_EMPTY_PATH) = 0',
    "2  +++ exited with 0 +++",
    "garbage",
  ].join("\n");
  const { opened, started, looked, folders } = await parseTrace(text.split("\n"), "/root/in");
  expect([...looked]).toEqual(["/w/seen", "/etc/x"]);
  expect([...folders]).toEqual(["/srv", "/var/lib", "/var/log/b", "/var/lib/c"]);
  expect([...started]).toEqual(["/bin/x", "/usr/bin/y"]);
  expect([...opened]).toEqual([
    ['/srv/a "b" ä', 'a "b" ä'],
    ["/usr/lib/libz.so.1.2", "/lib/libz.so.1"],
    ["/srv, x/y", "y"],
  ]);
});

it("a process's command stays what it was: words with blanks, quotes and nothing in them; a title is none", () => {
  const words = (cmdline: string) => wordsOf(cmdline, (path) => path === "/srv/my app");
  expect(words("sh\0-c\0a && b\0")).toEqual(["sh", "-c", "a && b"]);
  expect(words("x\0--name\0\0-v\0")).toEqual(["x", "--name", "", "-v"]);
  expect(words("/srv/my app\0")).toEqual(["/srv/my app"]);
  expect(words("nginx: master process /usr/sbin/nginx\0\0\0\0")).toBeUndefined();
  const odd = ["printf", "%s\\n", "it's", "a  b;$HOME*", "", "~"];
  expect(execFileSync("sh", ["-c", quoted(odd)], { encoding: "utf8" }).split("\n")).toEqual([
    ...odd.slice(2),
    "",
  ]);
});

it("a process that runs: its program, libraries, and the files that it was given", async () => {
  const script = join(folder, "script.sh");
  await writeFile(script, "read line\n");
  const child = spawn("/bin/sh", [script], { stdio: ["pipe", "ignore", "ignore"] });
  try {
    await expect.poll(() => readFile(`/proc/${child.pid}/cmdline`, "latin1")).toContain("script.sh");
    const { started, opened, command } = lookAt(child.pid ?? 0);
    expect(command).toEqual(["/bin/sh", script]);
    expect([...started].some((path) => /sh$/.test(path))).toBe(true);
    expect([...opened.keys()].some((path) => /libc\.so\.6$/.test(path))).toBe(true);
  } finally {
    child.kill("SIGKILL");
  }
  expect(() => lookAt(2 ** 30)).toThrow("there is no process 1073741824");
});
