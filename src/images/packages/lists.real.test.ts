/** Package lists, by the real apt, of a small mirror that can be out of reach. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Apt } from "./apt.ts";
import { INDEX_FORMAT } from "./index-file.ts";
import { PackageError } from "./package-error.ts";
import { PackageIndex } from "./package-index.ts";
import { Packages } from "./packages.ts";

const RELEASE = "bookworm";
const HOUR_MS = 3600_000;

class Mirror {
  /** Paths that were asked for. */
  readonly asked: string[] = [];
  readonly #files = new Map<string, Buffer>();
  #server: Server | undefined;
  #port = 0;

  constructor() {
    this.has("web");
  }

  /** From now on, beside them what each has. */
  has(...names: string[]): void {
    const packages = names
      .map((name) => `Package: ${name}\nVersion: 1.0\nArchitecture: all\nSize: 1\nFilename: ${name}.deb\n\n`)
      .join("");
    const contents = names.map((name) => `usr/bin/${name}   misc/${name}\n`).join("");
    const lists = new Map([
      ["main/binary-amd64/Packages", Buffer.from(packages)],
      ["main/Contents-amd64", Buffer.from(contents)],
      ["main/Contents-amd64.gz", gzipSync(contents)],
    ]);
    const sums = [...lists].map(
      ([name, text]) => ` ${createHash("sha256").update(text).digest("hex")} ${text.length} ${name}`,
    );
    const release = ["Suite: stable", `Codename: ${RELEASE}`, "Date: Sat, 28 Nov 2026 00:00:00 UTC"];
    const fields = ["Architectures: amd64", "Components: main", "SHA256:", ...sums, ""];
    this.#files.set("Release", Buffer.from([...release, ...fields].join("\n")));
    for (const [name, text] of lists) this.#files.set(name, text);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#server = createServer(({ url = "" }, response) => {
      this.asked.push(url);
      const file = this.#files.get(url.replace(`/dists/${RELEASE}/`, ""));
      response.writeHead(file ? 200 : 404).end(file);
    }).listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port; // it listens to a port
  }

  async stop(): Promise<void> {
    if (!this.#server?.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

describe("package lists", () => {
  let cache = "";
  let mirror = new Mirror();
  const at = (name: string) => join(cache, `apt-${RELEASE}`, name);
  const packages = () => new Packages(cache, RELEASE);
  const apt = () => new Apt(cache, RELEASE);
  const age = async (name: string, ms: number) => {
    const seconds = (Date.now() - ms) / 1000;
    await utimes(at(name), seconds, seconds);
  };
  const has = async (name: string) => (await packages().resolve([name])).length > 0;

  beforeEach(async () => {
    cache = await mkdtemp(join(tmpdir(), "vireo-lists-"));
    mirror = new Mirror();
    await mirror.start();
    // The host's sources, and one that is nobody's any more.
    const sources = [
      `deb [trusted=yes] ${mirror.url} ${RELEASE} main`,
      "deb [trusted=yes] http://127.0.0.2:9/gone nodistro main",
    ];
    await writeFile(join(cache, "sources.list"), sources.join("\n"));
    const config = [
      `Dir::Etc::sourcelist "${join(cache, "sources.list")}";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Acquire::Retries "0";',
      'Acquire::http::Proxy "DIRECT";',
    ];
    await writeFile(join(cache, "apt.conf"), config.join("\n"));
    process.env.APT_CONFIG = join(cache, "apt.conf");
  });
  afterEach(async () => {
    delete process.env.APT_CONFIG;
    await mirror.stop();
    await rm(cache, { recursive: true });
  });

  it("are fetched once by all who find them old at the same moment, and plans are kept meanwhile", async () => {
    const plans = await Promise.all([
      packages().plan(["web"]),
      apt().lists(),
      new Packages(cache, RELEASE, undefined, { whole: true }).plan(["web"]),
      packages().plan(["web"]),
    ]);
    expect(plans[0]).toEqual([{ name: "web", version: "1.0" }]);
    expect(mirror.asked.filter((path) => path.endsWith("/Release"))).toHaveLength(1);
    // A build is choosing its packages while the lists change.
    const build = packages();
    await age("updated", 25 * HOUR_MS);
    await Promise.all([build.plan(["web"]), apt().lists(), build.plan(["web"])]);
    expect(mirror.asked.filter((path) => path.endsWith("/Release"))).toHaveLength(2);
  });

  it("of contents are, too", async () => {
    const both = await Promise.all([packages().contents(), packages().contents()]);
    for (const contents of both) {
      expect((await contents.packagesOf("usr/bin/web"))?.packages).toEqual(["web"]);
      await contents.close();
    }
    expect(mirror.asked.filter((path) => path.endsWith("/Release"))).toHaveLength(1);
  });

  it("of contents that cannot be made anew are told of, and those of before do", async () => {
    await packages()
      .contents()
      .then((contents) => contents.close());
    await age("contents.index", 8 * 24 * HOUR_MS);
    await mirror.stop();
    const warn = vi.fn();
    const contents = await new Packages(cache, RELEASE, undefined, { warn }).contents();
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/cannot be fetched: .*; going on with the lists of files of 20..-..-..T/)],
    ]);
    expect((await contents.packagesOf("usr/bin/web"))?.packages).toEqual(["web"]);
    await contents.close();
  });

  it("that cannot be fetched are an error, and are there as soon as the mirror is", async () => {
    await mirror.stop();
    await expect(apt().lists()).rejects.toThrow(PackageError);
    await expect(packages().plan(["web"])).rejects.toThrow(
      /^the package lists of bookworm cannot be fetched: .*Could not connect/,
    );
    await expect(packages().contents()).rejects.toThrow("cannot be fetched");
    await mirror.start();
    expect((await apt().lists()).files).toHaveLength(1);
    expect(await has("web")).toBe(true);
  });

  it("of before do where newer ones cannot be fetched, for a while", async () => {
    await apt().lists();
    await age("updated", 30 * HOUR_MS);
    await mirror.stop();
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    await new Apt(cache, RELEASE, undefined, { warn }).lists();
    expect(warnings).toEqual([
      expect.stringMatching(/cannot be fetched: .*; going on with those of 20..-..-..T/),
    ]);
    expect(await has("web")).toBe(true);
    expect(Date.now() - statSync(at("updated")).mtimeMs).toBeGreaterThan(23 * HOUR_MS);
    await age("updated", 25 * HOUR_MS);
    mirror.has("web", "more");
    await mirror.start();
    await apt().lists();
    expect(await has("more")).toBe(true);
  });

  it("are read anew by a picker whose file is damaged, and one that failed answers again", async () => {
    const warnings: string[] = [];
    const index = new PackageIndex(cache, RELEASE, { warn: (text) => void warnings.push(text) });
    onTestFinished(() => index.close());
    await mirror.stop();
    const all = () => index.search("", { limit: 5, offset: 0 });
    await expect(all()).rejects.toThrow(PackageError);
    await mirror.start();
    expect((await all()).total).toBe(1);
    index.close();
    const file = at(`picker-v${INDEX_FORMAT}.sqlite`);
    // As old as its lists, so nothing else makes it anew.
    const { mtime } = statSync(file);
    await writeFile(file, "x".repeat(statSync(file).size));
    await utimes(file, mtime, mtime);
    expect(await Promise.all([all(), all()])).toMatchObject([{ total: 1 }, { total: 1 }]);
    // Or it was whole when it was opened.
    index.close();
    await index.about();
    await truncate(file, 4096);
    await utimes(file, mtime, mtime);
    expect((await all()).total).toBe(1);
    expect(existsSync(file)).toBe(true);
    expect(warnings).toEqual([]);
  });

  it("that cannot be renewed are told of by a picker that goes on with its own", async () => {
    const warnings: string[] = [];
    const index = new PackageIndex(cache, RELEASE, { warn: (text) => void warnings.push(text) });
    onTestFinished(() => index.close());
    await index.about();
    index.close();
    await age("updated", 30 * HOUR_MS);
    await mirror.stop();
    expect((await index.about()).packages).toBe(1);
    await expect
      .poll(() => warnings, { timeout: 30_000 })
      .toEqual([expect.stringContaining("cannot be fetched")]);
  });

  it("that no apt can fetch are no error of Vireo's", async () => {
    vi.stubEnv("PATH", "/nowhere");
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(apt().lists()).rejects.toThrow(PackageError);
  });
});
