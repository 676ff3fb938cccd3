import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { endOfFile, LOG_FILE } from "./own-log.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-log-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
});

/** Logs lines of some 110 bytes to `log`, with room for 2000 bytes. */
async function run(log: string, named = log, lines = 100): Promise<void> {
  const output = openSync(log, "a", 0o600);
  const module = JSON.stringify(join(import.meta.dirname, "own-log.ts"));
  const code = `import { ownLogger } from ${module};
    const log = ownLogger("test", 2000);
    for (let n = 0; n < ${lines}; n++) log.info("line", { n });`;
  const env = { ...process.env, [LOG_FILE]: named };
  const args = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", code];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", output, output] });
  closeSync(output);
  const [exitCode] = await once(child, "exit");
  expect(exitCode).toBe(0);
}
const numbers = (file: string): number[] =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line).n);

it("a log that is full goes on from nothing; the last three that were full stay, whole and for the same eyes", async () => {
  const log = join(folder, "a.log");
  await run(log);
  const files = [3, 2, 1].map((n) => `${log}.${n}`);
  for (const file of files) {
    expect(statSync(file).size).toBeLessThan(2200);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  }
  const kept = [...files, log].flatMap(numbers);
  expect(kept.length).toBeGreaterThan(50);
  expect(kept).toEqual([...Array(kept.length).keys()].map((n) => 100 - kept.length + n));
  expect(() => statSync(`${log}.4`)).toThrow("ENOENT");
});

it("when a full one cannot be kept, its end and the older ones stay, and the log says so", async () => {
  const log = join(folder, "a.log");
  const older = [1, 2, 3].map((n) => `${log}.${n}`);
  for (const file of older) writeFileSync(file, file);
  // Where the copy would be made: nothing can be written there.
  mkdirSync(`${log}.new`);
  await run(log, log, 25);
  expect(older.map((file) => readFileSync(file, "utf8"))).toEqual(older);
  const lines = readFileSync(log, "utf8").trim().split("\n");
  const said = lines.findIndex((line) => line.includes("log.dropped"));
  expect(lines[said]).toContain("EISDIR");
  expect(said).toBeGreaterThan(0);
  const kept = lines.toSpliced(said, 1).map((line) => JSON.parse(line).n);
  expect(kept).toEqual([...Array(kept.length).keys()].map((n) => 25 - kept.length + n));
});

it("what is not the file that the process was started with is let alone", async () => {
  const [log, other] = [join(folder, "a.log"), join(folder, "b.log")];
  writeFileSync(other, "mine");
  await run(log, other);
  expect([numbers(log).length, readFileSync(other, "utf8")]).toEqual([100, "mine"]);
});

it("of a large file only the end is read", () => {
  const file = join(folder, "large");
  writeFileSync(file, "0123456789");
  expect([endOfFile(file, 3), endOfFile(file, 99)]).toEqual(["789", "0123456789"]);
});
