/** What becomes of a page's code that cannot be loaded. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { loaded, OutOfDate } from "./loaded.ts";

const own = () => "/assets/index-1.js";
const html = (script: string) => `<script type="module" crossorigin src="${script}"></script>`;
const failed = new TypeError("Failed to fetch dynamically imported module");

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("it waits for a control plane that is away", async () => {
  vi.stubGlobal(
    "fetch",
    vi
      .fn()
      .mockRejectedValueOnce(new TypeError())
      .mockResolvedValue(new Response("", { status: 502 })),
  );
  const load = vi.fn().mockRejectedValueOnce(failed).mockRejectedValueOnce(failed).mockResolvedValue("page");
  const asked = loaded(load, own);
  await vi.advanceTimersByTimeAsync(5000);
  expect(await asked).toBe("page");
});

it("it is out of date when the server's pages begin with another script", async () => {
  vi.stubGlobal("fetch", async () => new Response(html("/assets/index-2.js")));
  await expect(loaded(() => Promise.reject(failed), own)).rejects.toBeInstanceOf(OutOfDate);
});

it("a module that fails, and a failure that the browser keeps, are no update", async () => {
  vi.stubGlobal(
    "fetch",
    vi
      .fn()
      .mockRejectedValueOnce(new TypeError())
      .mockResolvedValue(new Response(html(own()))),
  );
  const asked = loaded(() => Promise.reject(failed), own);
  const refused = expect(asked).rejects.toBe(failed);
  await vi.advanceTimersByTimeAsync(2000);
  await refused;
});
