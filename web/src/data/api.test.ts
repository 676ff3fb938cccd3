/** What becomes of a request when the server is slow, silent or gone. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError, isPassing, request, requestBlob, requestText } from "./api.ts";

/** What the server says of the answer that is under way. */
let body: ReadableStreamDefaultController<Uint8Array>;
const say = (text: string) => body.enqueue(new TextEncoder().encode(text));

/** As a browser's: errors of the signal reach the answer's body, too. @param headers when they come */
function serve(headers: Promise<unknown>, status = 200): void {
  vi.stubGlobal("fetch", async (_path: string, { signal }: { signal: AbortSignal }) => {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    aborted.catch(() => {});
    await Promise.race([headers, aborted]);
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        body = controller;
        signal.addEventListener("abort", () => controller.error(signal.reason));
      },
    });
    return new Response(stream, { status, headers: { "content-type": "image/png" } });
  });
}

/** What came of it, without waiting for it. */
function outcome(asked: Promise<unknown>): { of?: unknown } {
  const seen: { of?: unknown } = {};
  asked.then(
    (value) => {
      seen.of = value;
    },
    (error: unknown) => {
      seen.of = error;
    },
  );
  return seen;
}
const silent = { reason: "ServiceUnavailable", message: "the control plane has said nothing for 30 s" };

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});
/** Lets everything happen that waits for no timer. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
const pass = async (ms: number) => {
  await settle();
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
};

it("an answer that flows may take long", async () => {
  serve(Promise.resolve());
  const seen = outcome(request("GET", "/list"));
  await pass(20_000);
  for (const part of ['{"items"', ":[", "1]", "}"]) {
    say(part);
    await pass(20_000);
  }
  expect(seen.of).toBeUndefined();
  body.close();
  await settle();
  expect(seen.of).toEqual({ items: [1] });
  expect(vi.getTimerCount()).toBe(0);
});

it.each([
  ["object", () => request("GET", "/x")],
  ["text", () => requestText("/x")],
  ["picture", () => requestBlob("/x")],
])("a server that says nothing, or no more, is said to be silent: %s", async (_, ask) => {
  serve(new Promise(() => {}));
  const before = outcome(ask());
  await pass(29_000);
  expect(before.of).toBeUndefined();
  await pass(1000);
  expect(before.of).toMatchObject(silent);
  serve(Promise.resolve());
  const within = outcome(ask());
  await pass(29_000);
  say("{");
  await pass(29_000);
  expect(within.of).toBeUndefined();
  await pass(1000);
  expect(within.of).toMatchObject(silent);
});

it("an answer that breaks off, or is no JSON, is an error of the API as others", async () => {
  serve(Promise.resolve());
  const cut = outcome(requestText("/x"));
  await settle();
  say("half");
  body.error(new TypeError("network error"));
  await settle();
  expect(cut.of).toMatchObject({
    reason: "ServiceUnavailable",
    message: "the control plane's answer broke off",
  });
  const other = outcome(request("GET", "/x"));
  await settle();
  say("<html>");
  body.close();
  await settle();
  expect(other.of).toMatchObject({ reason: "InternalError" });
});

it("of what was to be changed it says that it may have been done", async () => {
  serve(new Promise(() => {}));
  const seen = outcome(request("POST", "/x", { body: {} }));
  await pass(30_000);
  expect(seen.of).toMatchObject({ message: expect.stringMatching(/30 s; it may have been done/) });
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  await expect(request("POST", "/x")).rejects.toMatchObject({ message: "the control plane does not answer" });
});

it("files and what the server has to fetch first may be silent until the answer begins", async () => {
  const headers = Promise.withResolvers<void>();
  serve(headers.promise);
  const file = outcome(request("POST", "/x", { body: new Blob(["x"]) }));
  const list = outcome(request("GET", "/x", { isLong: true }));
  await pass(600_000);
  expect([file.of, list.of]).toEqual([undefined, undefined]);
  headers.resolve();
  await pass(30_000);
  expect(file.of).toMatchObject({ message: expect.stringMatching(/said nothing/) });
  expect(list.of).toMatchObject(silent);
});

it("who gives up himself is told no error of the control plane", async () => {
  serve(new Promise(() => {}));
  const mine = new AbortController();
  const seen = outcome(request("GET", "/x", { signal: mine.signal }));
  await settle();
  mine.abort();
  await settle();
  expect(seen.of).toBe(mine.signal.reason);
  expect(vi.getTimerCount()).toBe(0);
});

it("refusals are the API's own", async () => {
  serve(Promise.resolve(), 403);
  const seen = outcome(request("GET", "/x"));
  await settle();
  say('{"kind":"Status","reason":"Forbidden","message":"you may not","code":403}');
  body.close();
  await settle();
  expect(seen.of).toMatchObject({ reason: "Forbidden", message: "you may not" });
});

it("tells what may go well a little later from what is final", () => {
  const passing = [
    new ApiError("ServiceUnavailable", "the control plane does not answer"),
    new ApiError("TooManyRequests", "too many at once"),
    new ApiError("Conflict", "image web has 3 bytes: go on there, not at 0", { retryAfterSeconds: 1 }),
  ];
  const final = [
    new ApiError("Conflict", "imagebuild web-1 is over; make another build", { name: "web-1" }),
    new ApiError("NotFound", "it is gone"),
    new Error("the file cannot be read"),
  ];
  expect(passing.filter(isPassing)).toEqual(passing);
  expect(final.filter(isPassing)).toEqual([]);
});
