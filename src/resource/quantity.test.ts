import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytes, formatBytes, MAX_BYTES, parseBytes, QuantityError, toMiB } from "./quantity.ts";

describe("sizes", () => {
  it.each([
    ["512Mi", 512 * 2 ** 20],
    ["1.5Gi", 1.5 * 2 ** 30],
    ["10G", 1e10],
    ["1k", 1000],
    ["0Mi", 0],
    ["8191Ti", 8191 * 2 ** 40],
  ])("%s is %d bytes", (text, count) => {
    expect(parseBytes(text)).toBe(count);
  });

  it.each([
    512,
    "512",
    "",
    "-1Gi",
    "1e99Gi",
    "1 Gi",
    " 1Gi",
    "1Gi\n",
    "0x10Mi",
    "Infinity",
    "NaNGi",
    ".5Gi",
    "1.Gi",
    "1gi",
    "1Ei",
    "9".repeat(400),
    null,
    undefined,
    [],
    true,
  ])("%j is none", (value) => {
    expect(() => parseBytes(value)).toThrow(QuantityError);
  });

  it("come back the same from their shortest form", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Math.floor(MAX_BYTES / 1024) }), (kibibytes) => {
        const count = kibibytes * 1024;
        expect(parseBytes(formatBytes(count))).toBe(count);
      }),
    );
  });

  it("are whole, never negative and exact, whatever is given", () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom("", "Mi", "Gi", "G"), (text, unit) => {
        try {
          const count = parseBytes(text + unit);
          expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(QuantityError);
        }
      }),
    );
  });

  it("are never shown smaller than they are", () => {
    expect(formatBytes(1)).toBe("1Ki");
    expect(formatBytes(1025)).toBe("2Ki");
    expect(toMiB(bytes(2 ** 20 * 3 - 1))).toBe(2);
    expect(() => bytes(-1)).toThrow(QuantityError);
    expect(() => bytes(1.5)).toThrow(QuantityError);
  });
});
