/** Machines of two policies: on the map, in the table and on their pages, and while a plan of which one move is approved moves one of them. */
import { expect, it } from "vitest";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Policy } from "../../src/director/kinds.ts";
import { Plan } from "../../src/director/planning/kinds.ts";
import { type Stack, until } from "../../test/support/stack.ts";
import { type Page, violations } from "./browser.ts";
import type { Ui } from "./site.ts";

const PAIR = [
  { name: "pair-1", memory: "96Mi" },
  { name: "pair-2", memory: "128Mi" },
] as const;

interface Place {
  name: string;
  namespace: string;
}

interface Seen {
  /** How many pixels of the map have just this colour. */
  pixels: number;
  /** One with more of them around it, from the canvas' corner. */
  at: [number, number];
  left: number;
  right: number;
}

/** Where the map has these colours, each as CSS says it. */
async function seenOf(page: Page, colors: readonly string[]): Promise<Seen[]> {
  const seen: unknown = await page.evaluate(`(() => {
    const canvas = document.querySelector(".map canvas");
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const sample = new OffscreenCanvas(1, 1).getContext("2d");
    return ${JSON.stringify(colors)}.map((color) => {
      if (!CSS.supports("color", color)) throw new Error("no colour: " + color);
      sample.fillStyle = color;
      sample.fillRect(0, 0, 1, 1);
      const [r, g, b] = sample.getImageData(0, 0, 1, 1).data;
      const is = (i) => data[i] === r && data[i + 1] === g && data[i + 2] === b;
      const found = { pixels: 0, at: [0, 0], left: width, right: 0 };
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const i = (y * width + x) * 4;
          if (!is(i)) continue;
          found.pixels++;
          found.left = Math.min(found.left, x);
          found.right = Math.max(found.right, x);
          if (x > 1 && y > 8 && is(i - 8) && is(i + 8) && is(i - 32 * width) && is(i + 32 * width)) found.at = [x, y];
        }
      return found;
    });
  })()`);
  // Safe: what was just made above.
  return seen as Seen[];
}

/**
 * How many pixels are not as most, in the middle of the map from top to bottom: between its two hosts, below the lines with names, where there is
 * the ground, and the line around the site.
 */
async function drawnBetween(page: Page): Promise<number> {
  return Number(
    await page.evaluate(`(() => {
      const { width, height } = document.querySelector(".map canvas");
      const top = Math.round(height / 8);
      const { data } = document.querySelector(".map canvas").getContext("2d").getImageData(width / 2 - 3, top, 6, height - top);
      const counts = new Map();
      const pixels = new Uint32Array(data.buffer);
      for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
      return pixels.length - Math.max(...counts.values());
    })()`),
  );
}

/** What the legend says: the colour of a policy's machines. */
async function colorOf(page: Page, policy: string): Promise<string> {
  const swatch = page.getByRole("button", { name: policy, exact: true }).locator(".swatch");
  const style = await swatch.getAttribute("style");
  return /background(?:-color)?: ([^;]+)/.exec(style ?? "")?.[1] ?? `no colour in ${style}`;
}

/** Waits until of the colours just these are on the map. */
async function shows(page: Page, colors: readonly string[], are: readonly boolean[]): Promise<Seen[]> {
  let seen: Seen[] = [];
  return until(
    `colours on the map: ${are}`,
    10_000,
    async () => {
      seen = await seenOf(page, colors);
      return seen.every(({ pixels }, i) => pixels > 40 === are[i]) ? seen : undefined;
    },
    () => JSON.stringify(seen),
  );
}

/** Rules by which one of the pair is on frugal-1, and the other on fast-1. */
const apart = (onFrugal: string, onFast: string): string[] => [
  `host.name == 'frugal-1' || machine.name == '${onFast}'`,
  `host.name == 'fast-1' || machine.name == '${onFrugal}'`,
];

/**
 * Machines with a policy of their own, each on a host of its own; a test may have them begin to boot before they are looked at.
 * @param one which runs on: for others the hosts have no room then
 */
export async function ensurePair({ client }: Stack, { name: one, namespace }: Place): Promise<void> {
  if (await client.get(Policy, { name: "pair", namespace })) return;
  for (const { metadata } of (await client.list(VirtualMachine)).items)
    if (metadata.name !== one)
      await client.patch(VirtualMachine, { name: metadata.name, namespace }, { spec: { running: false } });
  await client.create(Policy, {
    metadata: { name: "pair", namespace },
    spec: {
      selector: { matchLabels: { set: "pair" } },
      required: apart("pair-1", "pair-2"),
      automation: "ask",
      // So that their moves last long enough to be looked at.
      transfer: { bandwidth: "12Mi" },
    },
  });
  for (const { name, memory } of PAIR)
    await client.create(VirtualMachine, {
      metadata: { name, namespace, labels: { set: "pair" } },
      spec: { memory, image: "small" },
    });
}

/** @param one a machine of policy web, on frugal-1 */
export function estate(ui: () => Ui, one: Place): void {
  const { namespace } = one;
  const policy = { name: "pair", namespace };
  const [first, second] = ["pair-1", "pair-2"].map((name) => ({ name, namespace }));
  if (!first || !second) throw new Error("two machines");
  const machine = async (place: Place) => ui().stack.client.get(VirtualMachine, place);

  it("shows each machine on the map in the colour of its policy, and others dimmed", async () => {
    const { page, stack } = ui();
    await ensurePair(stack, one);
    for (const { name } of PAIR)
      await until(`${name} to run`, 60_000, async () =>
        (await machine({ name, namespace }))?.status?.phase === "Running" ? true : undefined,
      );
    await page.goto("/estate");
    await page.locator(".map canvas[data-drawn]").waitFor();
    const colors = [await colorOf(page, "web"), await colorOf(page, "pair")];
    expect(new Set(colors).size).toBe(2);
    const seen = await shows(page, colors, [true, true]);
    const canvas = await page.locator(".map canvas").boundingBox();
    for (const [i, [name, its]] of [
      [/^web-1$/, "web"],
      [/^pair-[12]$/, "pair"],
    ].entries()) {
      const [x, y] = seen[i]?.at ?? [0, 0];
      await page.mouse.move((canvas?.x ?? 0) + x, (canvas?.y ?? 0) + y);
      const card = page.locator(".map-card", { has: page.locator("strong", { hasText: name ?? "" }) });
      await card.getByText(String(its), { exact: true }).waitFor();
    }
    await page.mouse.move(1, 1);
    const filter = page.getByLabel("Filter machines on the map");
    for (const [text, ...are] of [
      ["set=pair", false, true],
      ["policy:web", true, false],
      ["state:stopped", false, false],
      ["state:running", true, true],
    ] as const) {
      await filter.fill(text);
      await shows(page, colors, are);
    }
    await filter.fill("");
    await page.getByRole("button", { name: "pair", exact: true }).click();
    expect(await filter.inputValue()).toBe("policy:pair");
    await shows(page, colors, [false, true]);
    await filter.fill("");
  });

  it("draws the map anew when the light is switched", async () => {
    const { page } = ui();
    const ground = async () => {
      const color: unknown = await page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()",
      );
      return String(color);
    };
    const light = [await ground(), await colorOf(page, "pair")];
    await shows(page, light, [true, true]);
    const toggle = page.getByRole("button", { name: "Light or dark" });
    await toggle.click();
    const dark = [await ground(), await colorOf(page, "pair")];
    await shows(page, [...light, ...dark], [false, false, true, true]);
    await toggle.click();
    await shows(page, [...light, ...dark], [true, true, false, false]);
  });

  it("approves one move of a plan, and shows it on the map while it goes on", async () => {
    const { page, stack, visitor } = ui();
    const map = await visitor.context.newPage();
    await map.goto("/estate");
    await map.locator(".map canvas[data-drawn]").waitFor();
    const colors = [await colorOf(map, "pair")];
    const [before] = await shows(map, colors, [true]);
    const still = await drawnBetween(map);
    await stack.client.patch(Policy, policy, { spec: { required: apart("pair-2", "pair-1") } });
    await page.goto("/director");
    const proposal = page.getByText("Proposed, waits for you").getByRole("link", { name: "2 moves" });
    await proposal.click({ timeout: 60_000 });
    const proposed = new URL(page.url()).pathname.split("/").at(-1) ?? "";
    await page.getByRole("checkbox", { name: "Approve the move of pair-2" }).uncheck();
    await page.getByText("Of all 2 moves; of those that you approve").waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Approve 1 of 2" }).click();
    await page.waitForURL("**/director/plans/approved-*");
    const approved = new URL(page.url()).pathname.split("/").at(-1) ?? "";
    let drawn = 0;
    await until(
      "the move to be drawn",
      30_000,
      async () => {
        drawn = await drawnBetween(map);
        return drawn > still + 6 || undefined;
      },
      () => `${drawn} pixels between the hosts`,
    );
    await map.locator(".figure", { hasText: "1move under way" }).waitFor();
    const phase = async () => (await stack.client.get(Plan, { name: approved }))?.status?.phase;
    await until("the plan to be done", 60_000, async () =>
      (await phase()) === "Succeeded" ? true : undefined,
    );
    expect((await stack.client.get(Plan, { name: proposed }))?.status?.phase).toBe("Rejected");
    // Only the one went, to where its piece is now; nothing is drawn between the hosts any more.
    expect([(await machine(first))?.status?.host, (await machine(second))?.status?.host]).toEqual([
      "fast-1",
      "fast-1",
    ]);
    await until("the piece to be on the other host", 10_000, async () => {
      const [now] = await seenOf(map, colors);
      return (
        (now && before && now.right < before.right - 100 && (await drawnBetween(map)) === still) || undefined
      );
    });
    await map.close();
  });

  it("sorts the table of machines by its heads", async () => {
    const { page } = ui();
    await page.goto("/machines");
    await page.getByRole("link", { name: "pair-2" }).waitFor();
    const names = () => page.locator("tbody tr td:nth-child(2)").allTextContents();
    const head = page.getByRole("columnheader", { name: "Memory" });
    const isSorted = async (way: string) => {
      await head.getByRole("button").click();
      expect(await head.getAttribute("aria-sort")).toBe(way);
      return (await names()).filter((name) => ["web-1", ...PAIR.map(({ name }) => name)].includes(name));
    };
    const [up, down] = [
      ["pair-1", "pair-2", "web-1"],
      ["web-1", "pair-2", "pair-1"],
    ];
    // What is largest comes first at first, as of all numbers.
    expect(await isSorted("descending")).toEqual(down);
    expect(await isSorted("ascending")).toEqual(up);
  });

  it("shows a machine's disks, networks, what it uses, and the changes that wait", async () => {
    const { page, stack } = ui();
    await stack.client.patch(VirtualMachine, second, {
      spec: { cpus: 2, disks: [{ name: "data", size: "8Mi" }] },
    });
    await page.goto(`/machines/${namespace}/${second.name}`);
    const waits = page.locator(".panel", { hasText: "Changes that wait" });
    await waits.getByRole("row", { name: /^cpus 1 2 .*next start/ }).waitFor({ timeout: 30_000 });
    const data = page
      .locator(".panel", { hasText: "Disks" })
      .getByRole("listitem")
      .filter({ hasText: "data" });
    await data.getByText(/^8 MiB/).waitFor();
    // It came while the machine runs.
    await data.getByText("not made yet").waitFor({ state: "detached", timeout: 30_000 });
    const [nic] = (await machine(second))?.status?.interfaces ?? [];
    const network = page.locator(".panel", { has: page.getByRole("heading", { name: "Network" }) }).last();
    await network.getByText(nic?.mac ?? "It has no network.").waitFor();
    for (const [title, text] of [
      ["CPU", /CPUs used \d/],
      ["Memory", /host \d.*iB/],
      ["Disks", /read \d.*\/s.*written \d.*\/s/],
      ["Network", /received \d.*\/s.*sent \d.*\/s/],
    ] as const) {
      const chart = page
        .getByRole("figure")
        .filter({ has: page.getByRole("heading", { name: title, exact: true }) });
      await chart.filter({ hasText: text }).waitFor({ timeout: 60_000 });
      await chart.locator("canvas").waitFor();
    }
    expect(await violations(page)).toEqual([]);
    await stack.client.delete(Policy, policy);
    for (const place of [first, second]) await stack.client.delete(VirtualMachine, place);
  });
}
