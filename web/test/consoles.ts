/** A machine's screen and serial port in their pages, and what can be done there: keys, text, a picture, more room. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { until } from "../../test/support/stack.ts";
import type { Page } from "./browser.ts";
import type { Ui } from "./site.ts";

/** How many lines of text are on the screen, of 16 pixels each. */
export async function linesOnScreen(page: Page): Promise<number> {
  const lines: unknown = await page.evaluate(`(() => {
    const canvas = document.querySelector(".console canvas");
    if (!canvas || !canvas.width) return 0;
    let lines = 0;
    for (let y = 0; y + 16 <= canvas.height; y += 16) {
      const { data } = canvas.getContext("2d").getImageData(0, y, canvas.width, 16);
      let lit = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] > 90) lit++;
      if (lit > 60) lines++;
    }
    return lines;
  })()`);
  return Number(lines);
}

export const serialText = async (page: Page): Promise<string> =>
  (await page.locator(".xterm-rows").textContent()) ?? "";

/** What the guest has counted to since it booted, as its serial port's page shows it; 0: it shows no number yet. */
export async function counted(page: Page): Promise<number> {
  const said = [...(await serialText(page)).matchAll(/hello from the guest (\d+)/g)];
  return Number(said.at(-1)?.[1] ?? 0);
}

/** How often the console on the page was connected so far. */
export const connectionsOf = async (page: Page): Promise<string | null> =>
  page.locator(".console .place").getAttribute("data-connections");

interface Sizes {
  /** Pixels of the guest's screen. */
  picture: [number, number];
  /** As it is shown. */
  shown: [number, number];
  place: [number, number];
}
async function sizesOf(page: Page): Promise<Sizes> {
  const sizes: unknown = await page.evaluate(`(() => {
    const canvas = document.querySelector(".console canvas");
    const of = (element) => {
      const { width, height } = element.getBoundingClientRect();
      return [width, height];
    };
    const place = document.querySelector(".console .place");
    return { picture: [canvas.width, canvas.height], shown: of(canvas), place: of(place) };
  })()`);
  // Safe: what was just made above.
  return sizes as Sizes;
}

/** Waits until the whole picture is in its place, as large as that lets it be, and not distorted. */
const fitting = (page: Page, isRight: (sizes: Sizes) => boolean): Promise<Sizes> => {
  let last: Sizes | undefined;
  return until(
    "the picture to fit its place",
    10_000,
    async () => {
      last = await sizesOf(page);
      const [x, y] = [last.shown[0] / last.picture[0], last.shown[1] / last.picture[1]];
      const [roomX, roomY] = [last.place[0] - last.shown[0], last.place[1] - last.shown[1]];
      const fits = Math.abs(x / y - 1) < 0.01 && roomX > -1 && roomY > -1 && Math.min(roomX, roomY) < 2;
      return fits && isRight(last) ? last : undefined;
    },
    () => JSON.stringify(last),
  );
};

/** @param machine its page's address; its guest counts on both consoles, and repeats on the serial port what is typed at the screen */
export function consoles(ui: () => Ui, machine: string): void {
  it("shows the screen and the serial port of a machine", async () => {
    const { page } = ui();
    await page.goto(`${machine}/screen`);
    await page.getByText("Connected", { exact: true }).waitFor();
    // The firmware writes three lines; the others are the guest's.
    await until(
      "text of the guest on the screen",
      30_000,
      async () => (await linesOnScreen(page)) > 5 || undefined,
    );
    await page.goto(`${machine}/serial`);
    await page.getByText("Connected", { exact: true }).waitFor();
    await until("text on the serial port", 20_000, async () => (await counted(page)) || undefined);
  });

  it("takes a picture of the screen, scales it with the page, and gives it all of the display", async () => {
    const { page } = ui();
    await page.goto(`${machine}/screen`);
    await page.getByText("Connected", { exact: true }).waitFor();
    const wide = await fitting(page, () => true);
    const begun = page.waitForEvent("download");
    await page.getByRole("button", { name: "Screenshot" }).click();
    const download = await begun;
    expect(download.suggestedFilename()).toBe("web-1.png");
    const png = readFileSync(await download.path());
    expect(png.subarray(1, 4).toString()).toBe("PNG");
    // As large as the guest's screen, however the page shows it.
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(wide.picture);

    const viewport = page.viewportSize() ?? { width: 1440, height: 900 };
    await page.setViewportSize({ width: 500, height: 700 });
    const narrow = await fitting(page, ({ shown }) => shown[0] < wide.shown[0]);
    expect(narrow.shown[0]).toBeLessThan(500);
    expect(narrow.picture).toEqual(wide.picture);
    await page.setViewportSize(viewport);
    await fitting(page, ({ shown }) => Math.abs(shown[0] - wide.shown[0]) < 2);

    await page.getByRole("button", { name: "Full screen" }).click();
    await page.waitForFunction("document.fullscreenElement?.matches('.console')");
    const full = await fitting(page, ({ place }) => place[0] >= viewport.width - 2);
    expect(full.shown[1]).toBeGreaterThan(wide.shown[1]);
    await page.evaluate("document.exitFullscreen()");
    await fitting(page, ({ shown }) => Math.abs(shown[0] - wide.shown[0]) < 2);
    // All the while it was one connection.
    expect(await connectionsOf(page)).toBe("1");
  });

  it("types a text of the clipboard at the guest's keyboard, and sends it Ctrl-Alt-Del", async () => {
    const { page, visitor, url } = ui();
    await visitor.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
    const serial = await visitor.context.newPage();
    await serial.goto(`${machine}/serial`);
    await until("what the guest counts", 20_000, async () => (await counted(serial)) || undefined);
    await page.bringToFront();
    await page.goto(`${machine}/screen`);
    await page.getByText("Connected", { exact: true }).waitFor();
    const copy = (text: string) => page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(text)})`);
    await copy("Grüße");
    await page.getByRole("button", { name: "Paste" }).click();
    await page.getByText("nothing was typed: a US keyboard has no ü ß").waitFor();
    await copy('echo "Hi, $USER!" | tee ~/a_B-7\n');
    await page.getByRole("button", { name: "Paste" }).click();
    await page.getByText("typed at the guest's keyboard").waitFor();
    await until(
      "the guest to repeat what was typed",
      20_000,
      async () => (await serialText(serial)).includes('typed: echo "Hi, $USER!" | tee ~/a_B-7') || undefined,
      () => serialText(serial),
    );
    const before = await counted(serial);
    await page.getByRole("button", { name: "Ctrl-Alt-Del" }).click();
    await until(
      "the guest to count from the beginning",
      60_000,
      async () => {
        const now = await counted(serial);
        return (now > 0 && now < before) || undefined;
      },
      () => serialText(serial),
    );
    await serial.close();
  });
}
