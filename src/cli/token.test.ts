import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Tokens } from "../api/tokens.ts";
import { type StatePaths, statePaths } from "./paths.ts";
import { parseTtl, tokenCreate, tokenList, tokenRevoke } from "./token.ts";

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
const create = (user: string, ttl?: string) =>
  printed((print) => tokenCreate(paths, user, { group: ["dev"], ...(ttl ? { ttl } : {}) }, print));

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
  const token = create("ann", "30m");
  expect(server.userOf(token)?.name).toBe("ann");
  vi.useFakeTimers({ now: Date.now() + 31 * 60_000 });
  expect(server.userOf(token)).toBeUndefined();
  expect(printed((print) => tokenList(paths, print))).not.toContain("ann");
});

it("what is wrong is told with what would be right", () => {
  expect(parseTtl("7d")).toBe(604_800_000);
  for (const ttl of ["", "7", "0m", "-1h", "1w", "1e3s"]) expect(() => parseTtl(ttl)).toThrow("such as 30m");
  expect(() => create("system:node:h1")).toThrow("not starting with system:");
  expect(() => tokenList(statePaths(join(paths.state, "none")), () => {})).toThrow("vireo up makes one");
});
