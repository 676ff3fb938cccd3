/**
 * Quantities of bytes as people write them: "512Mi", "4Gi", "10G". A unit is required, because `memory: 512` is far more
 * often a mistake (512 MiB meant) than a wish for 512 bytes. Suffixes are those of Kubernetes' resource.Quantity.
 */

declare const bytesBrand: unique symbol;
/** A whole, non-negative number of bytes. */
export type Bytes = number & { readonly [bytesBrand]: true };

const UNITS: Readonly<Record<string, number>> = {
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
};

/** Largest size we accept anywhere: 8 PiB, below 2^53, so that sums of sizes stay exact. */
export const MAX_BYTES = 2 ** 53 - 1;

export class QuantityError extends Error {}

export function bytes(count: number): Bytes {
  if (!Number.isSafeInteger(count) || count < 0) throw new QuantityError(`not a number of bytes: ${count}`);
  return count as Bytes;
}

/**
 * Parses "1536Mi" or "1.5Gi" into bytes.
 * @throws QuantityError with a message for users (what is wrong and an example of a right value).
 */
export function parseBytes(text: unknown): Bytes {
  const shown = JSON.stringify(text);
  if (typeof text === "number")
    throw new QuantityError(`${shown} has no unit; write for example "${text}Mi" or "${text}Gi"`);
  if (typeof text !== "string") throw new QuantityError(`${shown} is not a size; write for example "512Mi"`);
  if (text.startsWith("-")) throw new QuantityError(`${shown} is negative; write for example "512Mi"`);
  const match = /^(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]*)$/.exec(text);
  if (!match)
    throw new QuantityError(
      `${shown} is not a size; write digits and a unit, for example "512Mi" or "1.5Gi"`,
    );
  const [, digits = "", suffix = ""] = match;
  if (suffix === "")
    throw new QuantityError(`${shown} has no unit; write for example "${digits}Mi" or "${digits}Gi"`);
  const unit = UNITS[suffix];
  if (unit === undefined)
    throw new QuantityError(
      `${shown} has the unknown unit "${suffix}"; units are ${Object.keys(UNITS).join(", ")}`,
    );
  const value = Math.round(Number(digits) * unit);
  if (value > MAX_BYTES) throw new QuantityError(`${shown} is more than the largest size, 8191Ti`);
  return value as Bytes;
}

/** The shortest exact form with a binary unit: 536870912 -> "512Mi". */
export function formatBytes(value: number): string {
  for (const suffix of ["Pi", "Ti", "Gi", "Mi", "Ki"]) {
    const unit = UNITS[suffix] ?? 1;
    if (value >= unit && value % unit === 0) return `${value / unit}${suffix}`;
  }
  return value === 0 ? "0Mi" : `${Math.ceil(value / 1024)}Ki`;
}

/** Whole MiB, rounded down. */
export function toMiB(value: Bytes): number {
  return Math.floor(value / 2 ** 20);
}

/** Factors of what Kubernetes calls a quantity: also below one, and none at all. */
const FACTORS: Readonly<Record<string, number>> = {
  ...UNITS,
  "": 1,
  m: 1e-3,
  u: 1e-6,
  n: 1e-9,
  E: 1e18,
  Ei: 2 ** 60,
};

/**
 * Parses an amount as Kubernetes takes it: 4, "4", "500m", "1.5Gi", "1e3"; not negative.
 * @throws QuantityError with a message for users
 */
export function parseAmount(value: unknown): number {
  const text = typeof value === "number" ? String(value) : value;
  const match =
    typeof text === "string" ? /^(\d{1,18}(?:\.\d{1,9})?)(?:([eE]\d{1,2})|([A-Za-z]*))$/.exec(text) : null;
  const [, digits = "", exponent = "", suffix = ""] = match ?? [];
  const factor = Object.hasOwn(FACTORS, suffix) ? FACTORS[suffix] : undefined;
  if (!match || factor === undefined) {
    const shown = JSON.stringify(value)?.slice(0, 100);
    throw new QuantityError(`${shown} is not an amount; write for example "4", "500m" or "16Gi"`);
  }
  return Number(digits + exponent) * factor;
}
