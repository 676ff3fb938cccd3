/** What the map's legend says to whom. */
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { afterAll, expect, it, vi } from "vitest";
import type { Policy } from "../data/kinds.ts";

// Read by what the page imports.
vi.hoisted(() => {
  vi.stubGlobal("window", { addEventListener() {}, screen: {} });
  vi.stubGlobal("localStorage", { getItem: () => null });
});
vi.mock("../theme.ts", () => ({ useDark: () => false }));
afterAll(() => vi.unstubAllGlobals());

const { Legend } = await import("./estate.tsx");
const said = (policies: readonly Policy[], hidesPolicies: boolean) =>
  renderToStaticMarkup(createElement(Legend, { policies, hidesPolicies, filter: "", setFilter: () => {} }));

it("machines without a policy have no policy, if it is known that there is none", () => {
  const fast = { metadata: { name: "fast", namespace: "default" }, spec: {} } as unknown as Policy;
  expect(said([fast], false)).toMatch(/colour is policy.*fast.*no policy/);
  expect(said([], true)).toContain("policies are not shown to you");
  expect(said([], true)).not.toMatch(/no policy|colour is policy/);
});
