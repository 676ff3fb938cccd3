import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.ts";

/** Vireo's own. */
export const version = (): string => {
  const value: unknown = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return typeof value === "object" && value !== null ? String(Reflect.get(value, "version")) : "0.0.0";
};
