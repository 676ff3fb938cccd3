/** A language that a distribution has no package of is told with the field that asks for it. */
import { expect, it } from "vitest";
import { requireNames } from "../packages/asked.ts";
import { fedora, tumbleweed } from "../releases/rpm.ts";
import { withoutLanguage } from "./languages.ts";

const NAMES = new Set(["bash", ...["af", "da", "de", "en", "nds"].map((each) => `glibc-langpack-${each}`)]);
const told = (locale: string | undefined, ...names: string[]) => {
  try {
    requireNames(names, NAMES, withoutLanguage(locale, fedora("43"), NAMES));
    return "";
  } catch (error) {
    return String(error);
  }
};

it("with languages that may have been meant, beside other wrong names", () => {
  expect(told("dx_DE.UTF-8", "glibc-langpack-dx", "bahs")).toBe(
    'Error: recipe.locale: Fedora Linux 43 has no language dx, of dx_DE.UTF-8; did you mean da or de?; there is no package "bahs"; did you mean "bash"?',
  );
  expect(told("xx_DE.UTF-8", "glibc-langpack-xx")).toBe(
    "Error: recipe.locale: Fedora Linux 43 has no language xx, of xx_DE.UTF-8",
  );
  expect(told("de_DE.UTF-8", "glibc-langpack-de")).toBe("");
  // Named as a package, it is one.
  expect(told(undefined, "glibc-langpack-dx")).toMatch(
    /there is no package "glibc-langpack-dx"; did you mean/,
  );
});

it("where one package has all of them the build looks into it", () => {
  expect(withoutLanguage("xx_DE.UTF-8", tumbleweed, new Set())).toEqual(new Map());
});
