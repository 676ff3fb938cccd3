/** An object of which nothing is known yet: what JSON from outside is first checked to be. */
export type Fields = Record<string, unknown>;

/** Whether it is an object with fields: no list, not null. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
