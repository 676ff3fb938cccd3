/** What a Secret may hold, and that no message tells a value. */
import { expect, it } from "vitest";
import { Secret } from "./secrets.ts";

const secret = (data: Record<string, string>, more: object = {}) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "s" },
  data,
  ...more,
});
const wrong = (now: ReturnType<typeof secret>, old?: ReturnType<typeof secret>) =>
  Secret.check?.(now, old, { list: () => [] })?.map(
    ({ field, reason, message }) => `${field}: ${message} [${reason}]`,
  );

it("refuses keys and values that are none, and what is too long, without telling them", () => {
  expect(wrong(secret({ "a-B.c_1": "YQ==" }))).toEqual([]);
  expect(wrong(secret({ "a b": "no base64" }))).toEqual([
    "data[a b]: Invalid value: a key consists of letters, digits, '-', '_' and '.' [FieldValueInvalid]",
    "data[a b]: Invalid value: is not base64; write plain text under stringData [FieldValueInvalid]",
  ]);
  expect(wrong(secret({ a: "YWFh".repeat(349_526) }))).toEqual([
    "data: Too long: all values together may have 1048576 bytes [FieldValueTooLong]",
  ]);
});

it("changes nothing in one that is immutable", () => {
  const old = secret({ a: "YQ==" }, { immutable: true });
  expect(wrong(old, old)).toEqual([]);
  for (const now of [secret({ a: "YQ==" }), secret({ a: "Yg==" }, { immutable: true })])
    expect(wrong(now, old)).toEqual([
      "data: Forbidden: field is immutable when `immutable` is set [FieldValueForbidden]",
    ]);
});
