/** What apt is asked with. */
import { expect, it } from "vitest";
import { Apt } from "./apt.ts";

it("of a lock, lists of any day do, and are kept apart: nobody else is given them", () => {
  const lists = (dated: boolean) => new Apt("/cache", "bookworm", undefined, { dated }).options();
  expect(lists(true)).toContain("Acquire::Check-Valid-Until=false");
  expect(lists(true)).toContain("Dir::State::lists=/cache/apt-bookworm/lists-dated");
  expect(lists(false).join(" ")).not.toMatch(/Valid-Until|dated/);
});
