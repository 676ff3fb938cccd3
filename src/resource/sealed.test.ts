import { expect, it } from "vitest";
import { newOpener, seal } from "./sealed.ts";

it("only its reader opens it, and only for what it was sealed for", () => {
  const [reader, other] = [newOpener(), newOpener()];
  const sealed = seal(reader.publicKey, "geheim ✓", "vm-uid root");
  expect(Buffer.from(sealed, "base64").toString("latin1")).not.toContain("geheim");
  expect(reader.open(sealed, "vm-uid root")).toBe("geheim ✓");
  expect(reader.open(sealed, "another-uid root")).toBeUndefined();
  expect(other.open(sealed, "vm-uid root")).toBeUndefined();
  const cut = Buffer.from(sealed, "base64").subarray(0, -1).toString("base64");
  for (const bad of ["", "AAAA", cut]) expect(reader.open(bad, "vm-uid root")).toBeUndefined();
  expect(seal(reader.publicKey, "geheim ✓", "vm-uid root")).not.toBe(sealed);
  expect(() => seal("", "x", "y")).toThrow("not a key");
});
