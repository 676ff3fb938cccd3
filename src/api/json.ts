/** JSON as it comes in from outside: limits before parsing, and the duplicate keys that JSON.parse hides. */
import { ApiError } from "../resource/errors.ts";

export const MAX_DEPTH = 100;

/**
 * Parses text from outside. @throws ApiError BadRequest, with what is wrong
 *
 * The depth is counted before: code that walks objects may then recurse without fear.
 */
export function parseJson(text: string): unknown {
  checkDepth(text);
  try {
    return JSON.parse(text);
  } catch (cause) {
    // V8's text has a snippet of the body and the position.
    throw new ApiError(
      "BadRequest",
      `the body is not JSON: ${cause instanceof Error ? cause.message : ""}`,
      {},
      { cause },
    );
  }
}

function checkDepth(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > MAX_DEPTH)
        throw new ApiError("BadRequest", `the body is nested deeper than ${MAX_DEPTH} levels`);
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
}

/** Whether a parsed value (of YAML) is nested deeper than JSON may be. */
export function isTooDeep(value: unknown, left = MAX_DEPTH): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (left === 0) return true;
  return Object.values(value).some((child) => isTooDeep(child, left - 1));
}

/** Paths of keys that occur twice in one object, such as `spec.cpus`. `text` must be valid JSON. */
export function duplicateKeys(text: string): string[] {
  const found: string[] = [];
  let at = 0;
  const skipSpace = () => {
    while (at < text.length && text.charCodeAt(at) <= 32) at++;
  };
  const string = (): string => {
    const start = at++;
    while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at++;
    // Only keys are decoded: values may be large.
    return text.slice(start, at);
  };
  const value = (path: string): void => {
    skipSpace();
    const first = text[at];
    if (first === "{") object(path);
    else if (first === "[") array(path);
    else if (first === '"') string();
    else while (at < text.length && !/[\s,\]}]/.test(text[at] ?? "")) at++;
    skipSpace();
  };
  const object = (path: string): void => {
    at++;
    skipSpace();
    const seen = new Set<string>();
    while (text[at] !== "}") {
      if (text[at] === ",") at++;
      skipSpace();
      const key = String(JSON.parse(string()));
      const own = path ? `${path}.${key}` : key;
      if (seen.has(key)) found.push(own);
      seen.add(key);
      skipSpace();
      at++; // the colon
      value(own);
    }
    at++;
  };
  const array = (path: string): void => {
    at++;
    skipSpace();
    for (let index = 0; text[at] !== "]"; index++) {
      if (text[at] === ",") at++;
      value(`${path}[${index}]`);
    }
    at++;
  };
  value("");
  return found;
}
