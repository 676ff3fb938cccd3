import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SERIAL_LOG_MAX_BYTES, SerialLog } from "./serial-log.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-serial-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const onDisk = () => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

function all(log: SerialLog, position = 0): Buffer {
  const parts: Buffer[] = [];
  for (let at = position; ; ) {
    const { from, bytes } = log.read(at, 10_000);
    if (bytes.length === 0) return Buffer.concat(parts);
    parts.push(bytes);
    at = from + bytes.length;
  }
}

describe("the log of a serial port", () => {
  it("holds the last of what was said at its positions, never more than its bound, also by the next agent", () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 700_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(pieces, fc.nat(11), (sizes, restartAt) => {
        rmSync(folder, { recursive: true });
        let log = new SerialLog(folder);
        let said = Buffer.alloc(0);
        for (const [i, size] of sizes.entries()) {
          if (i === restartAt) log = new SerialLog(folder);
          const piece = Buffer.alloc(size, `${i}\n`);
          said = Buffer.concat([said, piece]);
          log.append(piece);
          expect(onDisk()).toBeLessThanOrEqual(SERIAL_LOG_MAX_BYTES);
        }
        expect(log.end).toBe(said.length);
        expect(all(log).equals(said.subarray(log.start))).toBe(true);
        // Three full segments at least, once there was enough.
        expect(log.end - log.start).toBeGreaterThanOrEqual(
          Math.min(said.length, (SERIAL_LOG_MAX_BYTES / 4) * 3),
        );
      }),
      { numRuns: 25 },
    );
  });

  it("knows where its last lines begin", () => {
    const log = new SerialLog(folder);
    expect(log.lastLines(3)).toBe(0);
    log.append(Buffer.from("\none\ntwo\nthree"));
    const last = (lines: number) => all(log, log.lastLines(lines)).toString();
    expect([0, 1, 2, 4, 5].map(last)).toEqual([
      "",
      "three",
      "two\nthree",
      "\none\ntwo\nthree",
      "\none\ntwo\nthree",
    ]);
    log.append(Buffer.from("\n"));
    expect(last(1)).toBe("three\n");
  });

  it("that cannot be written leaves a hole, and goes on behind it", () => {
    const log = new SerialLog(folder);
    log.append(Buffer.from("before"));
    rmSync(folder, { recursive: true });
    expect(() => log.append(Buffer.from("lost"))).toThrow(/ENOENT/);
    const again = new SerialLog(folder);
    expect(again.end).toBe(0);
    log.append(Buffer.from("after"));
    expect(log.read(6, 100)).toEqual({ from: 10, bytes: Buffer.from("after") });
  });
});
