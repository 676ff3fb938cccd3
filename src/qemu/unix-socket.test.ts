import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectAt } from "./unix-socket.ts";

let folder: string;
let server: Server;
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-socket-"));
  server = createServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve) => server.listen(at("real"), resolve));
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

const heard = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connectAt(path);
    socket.setEncoding("utf8").on("data", resolve);
    socket.on("error", reject);
  });

it("reaches the socket that is there", async () => {
  expect(await heard(at("real"))).toBe("hello");
});

it("follows no link to another", async () => {
  symlinkSync(at("real"), at("link"));
  await expect(heard(at("link"))).rejects.toThrow(`${at("link")}: is no socket`);
});

it("fails as any other where there is none, or nobody listens", async () => {
  await expect(heard(at("none"))).rejects.toThrow("ENOENT");
  writeFileSync(at("file"), "");
  await expect(heard(at("file"))).rejects.toThrow("is no socket");
});
