/** Requests over TLS, at a server that holds some of them up. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Pki } from "../api/pki.ts";
import { Connection } from "./connection.ts";

let folder: string;
let server: Server;
let connection: Connection;
const held: (() => void)[] = [];
const warnings: string[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-connection-"));
  const pki = await Pki.open(folder);
  server = createServer(await pki.serverCredentials([]), ({ url }, response) => {
    const answer = () => response.end("{}");
    if (url === "/held") held.push(answer);
    else if (url === "/warned")
      response.setHeader("warning", ['299 - "one \\"a\\", \\\\"', '299 - "two, 299 - three"']).end("{}");
    else answer();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Safe: it listens on TCP.
  const { port } = server.address() as AddressInfo;
  connection = new Connection({
    url: `https://127.0.0.1:${port}`,
    ca: pki.ca,
    mostAtOnce: 2,
    onWarning: (text) => warnings.push(text),
  });
});
afterEach(() => {
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
