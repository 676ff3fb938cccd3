/** What is fetched from where, and what is told of it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { download } from "./download.ts";
import { checkImport } from "./kinds.ts";
import { isFar } from "./origin.ts";

let folder: string;
let server: Server;
let port: number;
let answer: RequestListener;
let asked: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-download-"));
  asked = 0;
  server = createServer((request, response) => {
    asked++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});
afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const fetched = () => join(folder, "received");
const fetchFrom = (url: string, mayAsk: (address: string) => boolean) =>
  download({
    url,
    to: fetched(),
    from: 0,
    maxBytes: 1000,
    signal: new AbortController().signal,
    progress: async () => {},
    mayAsk,
  });
const onlyFirst = (address: string) => address === "127.0.0.1";

describe("a download", () => {
  it.each(["127.0.0.1", "127.9.9.9", "localhost", "0.0.0.0", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])(
    "never asks the control plane itself: %s",
    async (host) => {
      await expect(fetchFrom(`http://${host}:${port}/`, isFar)).rejects.toThrow(
        "address of the control plane",
      );
      expect(asked).toBe(0);
    },
  );

  it("tells addresses that only this machine reaches from others", () => {
    for (const address of ["169.254.169.254", "::ffff:a9fe:a9fe", "fe80::1", "::", "fd00:ec2::254"])
      expect(isFar(address), address).toBe(false);
    for (const address of ["10.0.0.1", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"])
      expect(isFar(address), address).toBe(true);
  });

  it("follows servers to others, but not to those that may not be asked", async () => {
    answer = ({ url }, response) =>
      url === "/here"
        ? response.end("the file")
        : response.writeHead(302, { location: url === "/far" ? "/here" : `http://127.0.0.2:${port}/` }).end();
    expect(await fetchFrom(`http://127.0.0.1:${port}/far`, onlyFirst)).toBe(8);
    expect(readFileSync(fetched(), "utf8")).toBe("the file");
    const before = asked;
    await expect(fetchFrom(`http://127.0.0.1:${port}/near`, onlyFirst)).rejects.toThrow(
      "address of the control plane",
    );
    expect(asked).toBe(before + 1);
    answer = (_request, response) => response.writeHead(301, { location: "/again" }).end();
    await expect(fetchFrom(`http://127.0.0.1:${port}/`, onlyFirst)).rejects.toThrow("more than 10 times");
    answer = (_request, response) => response.writeHead(301, { location: "file:///etc/shadow" }).end();
    await expect(fetchFrom(`http://127.0.0.1:${port}/`, onlyFirst)).rejects.toThrow("than http or https");
  });

  it("tells why there is no file, and not the secret in its URL", async () => {
    answer = (_request, response) => response.writeHead(403).end();
    const url = `http://127.0.0.1:${port}/disk.raw?X-Amz-Signature=secret`;
    await expect(fetchFrom(url, onlyFirst)).rejects.toThrow(
      new Error(
        `spec.import.url: http://127.0.0.1:${port}/disk.raw cannot be fetched: it answers 403 Forbidden`,
      ),
    );
  });
});

it("a URL with a password in it is refused, and is not repeated", () => {
  const of = (url: string) => checkImport({ sha256: "", url });
  expect(of("https://example.com/disk?at=1@2")).toEqual([]);
  expect(JSON.stringify(of("https://user:secret@example.com/"))).toMatch(/^(?!.*secret).*Forbidden/);
  expect(JSON.stringify(of("https://[nowhere"))).toContain("is no URL");
});
