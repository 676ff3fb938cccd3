import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Tokens } from "../api/tokens.ts";
import { type StatePaths, statePaths } from "./paths.ts";
import { durationMs, lifetimeMs, waitMs } from "./place.ts";
import { tokenCreate, tokenList, tokenRevoke } from "./token.ts";

let paths: StatePaths;
/** The running server's view of the same file. */
let server: Tokens;
beforeEach(() => {
  paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-token-")));
  mkdirSync(paths.pki);
  server = new Tokens(join(paths.pki, "tokens.json"));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(paths.state, { recursive: true });
});

function printed(run: (print: (line: string) => void) => void): string {
  const lines: string[] = [];
  run((line) => lines.push(line));
  return lines.join("\n");
}
const create = (user: string, ttlMs?: number) =>
  printed((print) => tokenCreate(paths, user, { group: ["dev"], ...(ttlMs ? { ttlMs } : {}) }, print));

it("a token that is revoked is refused by the server that runs, at once; others stay", () => {
  const ann = create("ann");
  const bob = create("bob");
  expect(server.userOf(ann)).toEqual({ name: "ann", groups: ["dev"] });
  const list = printed((print) => tokenList(paths, print));
  expect(list).not.toContain(ann);
  const id = /^(\w{12}) +ann +dev +never$/m.exec(list)?.[1] ?? "";
  tokenRevoke(paths, id, () => {});
  expect(server.userOf(ann)).toBeUndefined();
  expect(server.userOf(bob)?.name).toBe("bob");
  expect(() => tokenRevoke(paths, id, () => {})).toThrow("there is none with this id");
});

it("a token with a time to live ends by itself, and is listed no more", () => {
  const token = create("ann", 30 * 60_000);
  expect(server.userOf(token)?.name).toBe("ann");
  vi.useFakeTimers({ now: Date.now() + 31 * 60_000 });
  expect(server.userOf(token)).toBeUndefined();
  expect(printed((print) => tokenList(paths, print))).not.toContain("ann");
});

it("what is wrong is told with what would be right", () => {
  expect(["90", "90s", "5m", "2h", "7d", "0"].map(durationMs)).toEqual([
    90_000, 90_000, 300_000, 7_200_000, 604_800_000, 0,
  ]);
  for (const text of ["", "-1h", "1w", "1e3s", "12345678d"])
    expect(() => durationMs(text)).toThrow("such as 90s, 5m, 2h or 7d");
  expect(waitMs("24d")).toBe(24 * 86_400_000);
  expect(() => waitMs("25d")).toThrow("at most 24d can be waited");
  expect(lifetimeMs("7d")).toBe(604_800_000);
  expect(() => lifetimeMs("0m")).toThrow("above 0 is needed");
  expect(() => create("system:node:h1")).toThrow("not starting with system:");
  expect(() => tokenList(statePaths(join(paths.state, "none")), () => {})).toThrow("vireo up makes one");
});

it("of many that are made at once by processes of their own, none is lost", async () => {
  const main = join(import.meta.dirname, "main.ts");
  const make = (user: string) =>
    new Promise<string>((resolve, reject) =>
      execFile(process.execPath, [main, "--state", paths.state, "token", "create", user], (error, out) =>
        error ? reject(error) : resolve(out.trim()),
      ),
    );
  const users = Array.from({ length: 8 }, (_, i) => `user${i}`);
  // This process, too: as the server that lets hosts in does.
  const own = users.map(() => server.addUser({ name: "own", groups: [] }));
  const tokens = await Promise.all(users.map(make));
  expect(tokens.map((token) => server.userOf(token)?.name)).toEqual(users);
  expect(own.map((token) => server.userOf(token)?.name)).toEqual(users.map(() => "own"));
});

it("one process that died while it held the lock holds up nobody", async () => {
  const lock = join(paths.pki, "tokens.json.lock");
  const code = `import { withLock } from ${JSON.stringify(join(import.meta.dirname, "../api/secret-file.ts"))};
    withLock(${JSON.stringify(lock)}, () => { process.stdout.write("held\\n"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); });`;
  const holder = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(holder.stdout, "data");
  holder.kill("SIGKILL");
  await once(holder, "exit");
  expect(server.userOf(create("ann"))?.name).toBe("ann");
});
