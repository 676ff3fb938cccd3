/** Requests over TLS, at a server that holds some of them up. */
import { mkdtempSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Pki } from "../api/pki.ts";
import { Connection } from "./connection.ts";

let folder: string;
let server: Server;
let connection: Connection;
let [url, ca] = ["", ""];
const asked: string[] = [];
const held: (() => void)[] = [];
const warnings: string[] = [];
/** Answers a page that goes on. */
let flow: ServerResponse | undefined;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-connection-"));
  const pki = await Pki.open(folder);
  server = createServer(await pki.serverCredentials([]), ({ url }, response) => {
    const answer = () => response.end("{}");
    if (url === "/held") held.push(answer);
    else if (url === "/flow") {
      flow = response;
      response.write("a");
    } else if (url === "/warned")
      response.setHeader("warning", ['299 - "one \\"a\\", \\\\"', '299 - "two, 299 - three"']).end("{}");
    else if (url === "/busy" || url === "/cut-off") {
      asked.push(url);
      const [code, reason] = url === "/busy" ? [429, "TooManyRequests"] : [503, "ServiceUnavailable"];
      const details = { retryAfterSeconds: 3600 };
      response.writeHead(code).end(JSON.stringify({ kind: "Status", code, reason, details }));
    } else answer();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Safe: it listens on TCP.
  const { port } = server.address() as AddressInfo;
  url = `https://127.0.0.1:${port}`;
  ca = pki.ca;
  connection = new Connection({
    url,
    ca,
    mostAtOnce: 2,
    onWarning: (text) => warnings.push(text),
  });
});
afterEach(() => {
  vi.useRealTimers();
  connection.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

it("has so many under way at once, but what is urgent goes at once", async () => {
  const all = Array.from({ length: 3 }, () => connection.json({ method: "GET", path: "/held" }));
  await expect.poll(() => held.length).toBe(2);
  await connection.json({ method: "GET", path: "/beat", urgent: true });
  expect(held).toHaveLength(2);
  held[0]?.();
  await expect.poll(() => held.length).toBe(3);
  for (const answer of held) answer();
  await Promise.all(all);
});

it("hands on what the server warns of", async () => {
  await connection.json({ method: "GET", path: "/" });
  expect(warnings).toEqual([]);
  await connection.json({ method: "GET", path: "/warned" });
  expect(warnings).toEqual(['one "a", \\', "two, 299 - three"]);
});

it("a page that is long in coming is limited by silence alone", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const taken = async () => {
    const pages = connection.bytes("/flow");
    expect((await pages.next()).value?.toString()).toBe("a");
    // Whoever takes it may take his time, too.
    vi.advanceTimersByTime(100_000);
    for (const letter of ["b", "c"]) {
      const next = pages.next();
      vi.advanceTimersByTime(29_000);
      flow?.write(letter);
      expect((await next).value?.toString()).toBe(letter);
    }
    return pages;
  };
  const whole = await taken();
  flow?.end();
  expect((await whole.next()).done).toBe(true);
  const next = (await taken()).next();
  vi.advanceTimersByTime(31_000);
  await expect(next).rejects.toThrow(/^nothing more came from https:.* for 30000 ms$/);
});

it("of several control planes, asks the next one for one that is cut off, but never at once again one that is too busy", async () => {
  const several = new Connection({ url: [url, url, url], ca });
  asked.length = 0;
  await expect(several.json({ method: "GET", path: "/cut-off" })).rejects.toMatchObject({ code: 503 });
  expect(asked).toHaveLength(3);
  asked.length = 0;
  await expect(several.json({ method: "GET", path: "/busy" })).rejects.toMatchObject({ code: 429 });
  expect(asked).toHaveLength(1);
  several.close();
});
