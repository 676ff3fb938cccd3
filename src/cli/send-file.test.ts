/** Files sent in parts over a link on which large ones do not come through in time. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Pki } from "../api/pki.ts";
import { HttpClient } from "../client/http.ts";
import { sendFile } from "./send-file.ts";

const MiB = 2 ** 20;
const bytes = Buffer.alloc(3 * MiB, "abc");
const source = {
  totalBytes: bytes.length,
  read: async (at: number, length: number) => bytes.subarray(at, at + length),
};
let folder: string;
let server: Server;
let client: HttpClient;
/** What came, and sizes of parts that were not answered. */
let came: Buffer;
let held: number[];
/** Larger parts are not answered. */
let most: number;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-send-"));
  came = Buffer.alloc(0);
  held = [];
  const pki = await Pki.open(folder);
  server = createServer(await pki.serverCredentials([]), async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    if (body.length > most) {
      held.push(body.length);
      return;
    }
    if (request.method === "POST") {
      expect(request.url).toBe(`/upload?offset=${came.length}`);
      came = Buffer.concat([came, body]);
    }
    response.end(JSON.stringify({ receivedBytes: came.length }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Safe: it listens on TCP.
  const { port } = server.address() as AddressInfo;
  client = new HttpClient({ url: `https://127.0.0.1:${port}`, ca: pki.ca });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
  client.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

const send = () =>
  sendFile(client, { path: "/upload", source, about: "it" }, new AbortController().signal, () => {});
/** Until so many have been held up, whose time is over then. */
async function late(count: number): Promise<void> {
  await vi.waitUntil(() => held.length === count, { timeout: 20_000 });
  vi.advanceTimersByTime(31_000);
}

it("go on in smaller ones", async () => {
  most = MiB;
  const sent = send();
  await late(1);
  await sent;
  expect(came.equals(bytes)).toBe(true);
  expect(held).toEqual([2 * MiB]);
});

it("end when not even those come through, with what it is about", async () => {
  most = 1000;
  const sent = expect(send()).rejects.toThrow(/^it: no answer from https:.* within 30000 ms$/);
  for (const count of [1, 2, 3]) await late(count);
  await sent;
  expect(held).toEqual([2 * MiB, MiB / 2, MiB / 8]);
});
