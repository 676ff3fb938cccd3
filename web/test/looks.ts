/** Every page in every look: without what is against WCAG, not wider than the screen, soon there, and still. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { Plan } from "../../src/director/planning/kinds.ts";
import { ROOT } from "../../test/support/stack.ts";
import { type Page, signIn, violations, visit } from "./browser.ts";
import type { Ui } from "./site.ts";

const pagesOf = (machine: string) =>
  [
    ["estate", "/estate", "canvas"],
    ["machines", "/machines", "table"],
    ["machine", machine, ".verdicts li"],
    ["snapshots", `${machine}/snapshots`, ".tree-row"],
    ["serial", `${machine}/serial`, ".xterm-rows"],
    ["screen", `${machine}/screen`, ".console canvas"],
    ["machine-events", `${machine}/events`, "table"],
    ["yaml", `${machine}/yaml`, "pre.yaml"],
    ["hosts", "/hosts", "table"],
    ["host", "/hosts/fast-1", ".facts"],
    ["director", "/director", "table"],
    ["policy", "/director/policies/default/web", ".facts"],
    ["power-policy", "/director/powerpolicies/night", ".facts"],
    ["site", "/director/sites/north", ".facts"],
    ["new-policy", "/director/new/policies", ".cm-content"],
    ["new-power-policy", "/director/new/powerpolicies", ".cm-content"],
    ["new-site", "/director/new/sites", ".cm-content"],
    ["new-nothing", "/director/new/hosts", ".state"],
    ["new-machine", "/machines/new", "form"],
    ["plan", "", ".plan-move"],
    ["activity", "/activity", ".lines"],
    ["images", "/images", "table"],
    ["image", "/images/small", ".facts"],
    ["studio", "/images/new?from=shop", ".packages li"],
    ["import", "/images/import", "form"],
    ["nowhere", "/nowhere", ".state"],
    ["none", "/machines/default/nothing", ".state"],
  ] as const;
const LOOKS = [
  ["light", "light", 1440, 900],
  ["dark", "dark", 1440, 900],
  ["narrow", "light", 390, 844],
] as const;
/** Those that the documentation shows. */
const PICTURED: readonly string[] = ["estate", "machines", "machine", "director", "studio"];

/** What the page that has just been loaded took over the network, when it was first painted, and how much of it moved since. */
async function budgetOf(page: Page): Promise<{ bytes: number; paintedMs: number; shift: string[] }> {
  // As they were sent: compressed. Each once: what is preloaded and then imported is told twice.
  const resources = (await page.evaluate(
    `performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
       .filter(({ name }) => !name.includes("/apis/")).map(({ name, encodedBodySize }) => [name, encodedBodySize])`,
  )) as [string, number][];
  const bytes = [...new Map(resources).values()].reduce((sum, size) => sum + size, 0);
  const paintedMs = await page.evaluate(`new Promise((resolve) => {
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") resolve(entry.startTime);
    }).observe({ type: "paint", buffered: true });
  })`);
  const shift = await page.evaluate(`new Promise((resolve) => {
    const all = [];
    new PerformanceObserver((list) => {
      for (const { value, sources } of list.getEntries())
        all.push([value, value.toFixed(4) + " " + sources.map(({ node }) => node?.className || node?.nodeName).join(" ")]);
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve(all), 100);
  })`);
  // Safe: what was just made above.
  const moved = shift as [number, string][];
  const isMuch = moved.reduce((sum, [value]) => sum + value, 0) >= 0.01;
  return { bytes, paintedMs: Number(paintedMs), shift: isMuch ? moved.map(([, words]) => words) : [] };
}

/** What opens over a page, by its name. */
const dialogsOf = (machine: string): readonly [string, string, (page: Page) => Promise<void>][] => [
  [machine, "Search", (page) => page.keyboard.press("/")],
  [machine, "Move web-1 to another host", (page) => page.getByRole("button", { name: "Move" }).click()],
  [
    machine,
    "Delete web-1",
    async (page) => {
      await page.getByRole("button", { name: "More actions" }).click();
      await page.getByRole("menuitem", { name: "Delete…" }).click();
    },
  ],
  [
    `${machine}/snapshots`,
    "Take a snapshot of web-1",
    (page) => page.getByRole("button", { name: "Take a snapshot" }).click(),
  ],
  [
    `${machine}/snapshots`,
    "Take web-1 back to before",
    (page) =>
      page
        .locator(".tree-row", { hasText: "before" })
        .getByRole("button", { name: "Roll back" })
        .first()
        .click(),
  ],
];

/** Until what fades in is there: half of it has half of the contrast. */
const still = (page: Page) =>
  page.evaluate(
    `Promise.all(document.getAnimations().filter((one) => Number.isFinite(one.effect.getComputedTiming().endTime))
       .map(({ finished }) => finished.catch(() => {}))).then(() => {})`,
  );

/** @param machine its page's address; it has a snapshot "before" */
export function looks(ui: () => Ui, machine: string): void {
  const pages = pagesOf(machine);
  const approvedPlan = async () => {
    const { stack } = ui();
    const plans = (await stack.client.list(Plan)).items.filter(({ status }) => status?.phase === "Succeeded");
    return `/director/plans/${plans[0]?.metadata.name}`;
  };

  it.each(LOOKS)("is accessible and fits on every page, %s", async (look, colorScheme, width, height) => {
    const { browser, url, token } = ui();
    const { page, context, complaints } = await visit(browser, url, { colorScheme, width, height });
    await signIn(page, token);
    const folder = process.env.VIREO_PICTURES && resolve(ROOT, process.env.VIREO_PICTURES);
    if (folder) mkdirSync(folder, { recursive: true });
    for (const [name, path, ready] of pages) {
      await page.goto(path || (await approvedPlan()));
      await page.locator(ready).first().waitFor();
      // A machine's charts show something once it has told what it uses.
      if (name === "machine") await page.getByText(/CPUs used \d/).waitFor({ timeout: 60_000 });
      await page.locator("[aria-busy]").waitFor({ state: "detached" });
      expect(await violations(page), `${name}, ${look}`).toEqual([]);
      const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(overflow, `${name}, ${look}: wider than the screen`).toBeLessThanOrEqual(0);
      if (folder && PICTURED.includes(name))
        await page.screenshot({ path: join(folder, `web-${name}-${look}.png`) });
      if (process.env.VIREO_LOOK)
        await page.screenshot({ path: join(process.env.VIREO_LOOK, `${name}-${look}.png`) });
    }
    for (const [path, name, open] of dialogsOf(machine)) {
      await page.goto(path);
      await page.locator("[aria-busy]").waitFor({ state: "detached" });
      await open(page);
      const dialog = page.getByRole("dialog", { name });
      await dialog.waitFor();
      await still(page);
      expect(await violations(page), `${name}, ${look}`).toEqual([]);
      const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(overflow, `${name}, ${look}: wider than the screen`).toBeLessThanOrEqual(0);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
    }
    expect(complaints).toEqual([]);
    await context.close();
  });

  it("shows its first page soon, and nothing jumps", async () => {
    const { browser, url, token } = ui();
    const { page, context } = await visit(browser, url);
    /** Painted in time at least once of a few times: what else the machine does is not the page's. */
    const painted = async (path: string, shown: () => Promise<void>) => {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 4 && best >= 1000; i++) {
        await page.goto(path);
        await shown();
        const { bytes, paintedMs, shift } = await budgetOf(page);
        expect(bytes, path).toBeGreaterThan(i === 0 ? 50_000 : 0);
        expect(bytes, path).toBeLessThan(200_000);
        expect(shift, path).toEqual([]);
        best = Math.min(best, paintedMs);
      }
      expect(best, path).toBeGreaterThan(0);
      expect(best, path).toBeLessThan(1000);
    };
    await painted("/", () => page.getByLabel("Token").waitFor());
    await signIn(page, token);
    await painted("/estate", () => page.locator("canvas[data-drawn]").waitFor());
    // As one comes back to them, signed in.
    for (const [name, path, ready] of pages) {
      if (!["estate", "machines", "machine", "hosts", "host", "director", "images", "image"].includes(name))
        continue;
      await page.goto(path);
      await page.locator(ready).first().waitFor();
      await page.locator("[aria-busy]").waitFor({ state: "detached" });
      expect((await budgetOf(page)).shift, name).toEqual([]);
    }
    await context.close();
  });
}
