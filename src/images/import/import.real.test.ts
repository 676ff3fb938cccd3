/** Images that are brought along, through qemu-img: each format, hostile ones, what is broken off or killed. */

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { overriding } from "../../client/testing/overriding.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, until } from "../../compute/testing/control-plane.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { confined } from "../confine.ts";
import { Image } from "../kinds.ts";
import { importFolder, receive } from "./received.ts";
import { runImportReconciler } from "./reconciler.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-import-"));
const source = join(folder, "source");
const disk = join(source, "disk.raw");
const iso = join(source, "cd.iso");
const sh = (script: string) => execFileSync("sh", ["-ec", script], { cwd: source, encoding: "utf8" });
const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { cwd: source, encoding: "utf8" });
const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

beforeAll(() => {
  mkdirSync(source);
  // 3 MiB with a boot sector's signature, some text, and holes.
  const bytes = Buffer.alloc(3 * 2 ** 20);
  bytes.writeUInt16LE(0xaa55, 510);
  bytes.write("vireo was here", 2 ** 20);
  writeFileSync(disk, bytes);
  const cd = Buffer.alloc(40_960);
  cd.write("\x01CD001", 16 * 2048, "latin1");
  writeFileSync(iso, cd);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let plane: Awaited<ReturnType<typeof openControlPlane>>;
let images: string;
let stop: AbortController;
let running: Promise<void> | undefined;
let count = 0;

beforeEach(async () => {
  plane = await openControlPlane();
  const pool = join(folder, `pool-${count++}`);
  images = join(pool, "images");
  mkdirSync(images, { recursive: true });
  await plane.client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: pool, shared: true } },
  });
});
afterEach(async () => {
  await end();
  await plane.close();
});

function begin(client = plane.client): void {
  stop = new AbortController();
  const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal };
  running = runImportReconciler(context, () => true);
}
async function end(): Promise<void> {
  stop?.abort();
  await running;
  running = undefined;
}

async function bring(name: string, path: string): Promise<Image> {
  const { size } = statSync(path);
  const spec = { import: { sha256: sha256(path), bytes: size } };
  const image = await plane.client.create(Image, { metadata: { name }, spec });
  await receive(images, image, 0, readFileSync(path));
  return image;
}

/** Until the import is over. */
async function over(name: string): Promise<NonNullable<Image["status"]>> {
  const limit = Date.now() + 60_000;
  for (;;) {
    const { status } = (await plane.client.get(Image, { name })) ?? {};
    if (status?.phase === "Ready" || status?.phase === "Failed") return status;
    if (Date.now() > limit) throw new Error(`${name}: ${JSON.stringify(status)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const why = ({ conditions }: NonNullable<Image["status"]>) => conditions?.[0]?.message;

/** Each is made of the raw disk. */
const FORMATS: Readonly<Record<string, () => void>> = {
  "disk.raw": () => {},
  "d.qcow2": () => qemuImg("convert", "-O", "qcow2", "-c", disk, "d.qcow2"),
  "d.vmdk": () => qemuImg("convert", "-O", "vmdk", disk, "d.vmdk"),
  "s.vmdk": () => qemuImg("convert", "-O", "vmdk", "-o", "subformat=streamOptimized", disk, "s.vmdk"),
  "d.vhd": () => qemuImg("convert", "-O", "vpc", "-o", "force_size=on", disk, "d.vhd"),
  "f.vhd": () => qemuImg("convert", "-O", "vpc", "-o", "subformat=fixed,force_size=on", disk, "f.vhd"),
  "d.vhdx": () => qemuImg("convert", "-O", "vhdx", disk, "d.vhdx"),
  "d.vdi": () => qemuImg("convert", "-O", "vdi", disk, "d.vdi"),
  "d.hds": () => qemuImg("convert", "-O", "parallels", disk, "d.hds"),
  "d.hdd.tar": () =>
    void sh(
      "mkdir -p d.hdd && cp d.hds d.hdd/ && echo '<x/>' > d.hdd/DiskDescriptor.xml && tar cf d.hdd.tar d.hdd",
    ),
  "d.ova": () => void sh("echo '<Envelope/>' > d.ovf && tar --format=ustar -cf d.ova d.ovf s.vmdk"),
  "d.raw.gz": () => void sh("gzip -c disk.raw > d.raw.gz"),
  "d.raw.xz": () => void sh("xz -0 -c disk.raw > d.raw.xz"),
  "d.raw.zst": () => void sh("zstd -q -c disk.raw > d.raw.zst"),
  "d.vhd.tar.gz": () => void sh("tar czf d.vhd.tar.gz d.vhd"),
  "d.oci.tar": () =>
    void sh(
      "mkdir -p disk blobs/sha256 && cp d.qcow2 disk/ && tar cf layer.tar disk && mv layer.tar blobs/sha256/$(printf 0%.0s $(seq 64)) && echo '{}' > index.json && tar cf d.oci.tar index.json blobs",
    ),
};

describe("an import", () => {
  it("of every format is the same disk, and nothing else is left", async () => {
    begin();
    for (const [file, make] of Object.entries(FORMATS)) {
      make();
      const name = file.replaceAll(".", "-");
      await bring(name, join(source, file));
      const status = await over(name);
      expect(status, `${file}: ${why(status)}`).toMatchObject({
        phase: "Ready",
        format: "qcow2",
        virtualBytes: 3 * 2 ** 20,
      });
      const made = join(images, status.file ?? "");
      expect(sha256(made)).toBe(status.sha256);
      qemuImg("compare", "-q", "-f", "raw", "-F", "qcow2", disk, made);
    }
    await end();
    expect(readdirSync(images).filter((name) => !/-[0-9a-f]{12}\.(qcow2|json)$/.test(name))).toEqual([]);
  });

  it("of a CD stays as it is, for drives", async () => {
    begin();
    await bring("cd", iso);
    const status = await over("cd");
    expect(status).toMatchObject({ phase: "Ready", format: "raw", sha256: sha256(iso) });
    expect(status.file).toMatch(/\.iso$/);
    expect(status.versions).toMatchObject([{ version: 1, file: status.file }]);
    const channels = [{ name: "stable", version: 1 }];
    const { metadata } = await plane.client.patch(Image, { name: "cd" }, { spec: { channels } });
    await until("the change to be seen", async () => {
      const now = await plane.client.get(Image, { name: "cd" });
      return now?.status?.observedGeneration === metadata.generation;
    });
    expect(await over("cd")).toMatchObject({ file: status.file, phase: "Ready" });
  });

  it("of a file other than its sha256 says fails, and leaves nothing", async () => {
    begin();
    const spec = { import: { sha256: "0".repeat(64), bytes: statSync(disk).size } };
    const image = await plane.client.create(Image, { metadata: { name: "other" }, spec });
    await receive(images, image, 0, readFileSync(disk));
    const status = await over("other");
    expect(why(status)).toContain(`has the sha256 ${sha256(disk)}, spec.import.sha256 says 000`);
    expect(readdirSync(images)).toEqual([]);
  });
});

/** What nobody should bring, and what is told of it. */
const HOSTILE: Readonly<Record<string, [make: () => void, says: string]>> = {
  "backing.qcow2": [
    () =>
      qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "backing.qcow2", "1M"),
    "needs another file below it",
  ],
  "data.qcow2": [
    () => {
      qemuImg("create", "-q", "-f", "qcow2", "-o", "data_file=x.data,data_file_raw=on", "data.qcow2", "1M");
      // As one that names a file of the host.
    },
    "keeps its data in another file",
  ],
  "flat.vmdk": [
    () =>
      writeFileSync(
        join(source, "flat.vmdk"),
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n',
      ),
    "is the description of a VMDK whose data is in other files",
  ],
  "empty.vmdk": [
    () => {
      // A sparse header of no capacity: its description would be followed.
      const bytes = Buffer.alloc(65_536);
      bytes.write("KDMV", 0);
      bytes.writeBigUInt64LE(1n, 28);
      bytes.writeBigUInt64LE(2n, 36);
      bytes.write('# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n', 512);
      writeFileSync(join(source, "empty.vmdk"), bytes);
    },
    "is a VMDK whose data is in other files",
  ],
  "child.vhd": [
    () => {
      copyFileSync(join(source, "d.vhd"), join(source, "child.vhd"));
      const bytes = readFileSync(join(source, "child.vhd"));
      bytes.writeUInt32BE(4, 60);
      writeFileSync(join(source, "child.vhd"), bytes);
    },
    "differencing disk",
  ],
  "huge.qcow2": [
    () => {
      qemuImg("create", "-q", "-f", "qcow2", "huge.qcow2", "1M");
      const bytes = readFileSync(join(source, "huge.qcow2"));
      bytes.writeBigUInt64BE(2n ** 60n, 24);
      writeFileSync(join(source, "huge.qcow2"), bytes);
    },
    "the file ",
  ],
  "text.raw": [() => writeFileSync(join(source, "text.raw"), "hello\n".repeat(1000)), "is no disk"],
  "link.tar": [
    () => void sh("ln -sf /etc/passwd p.raw && tar cf link.tar p.raw && rm p.raw"),
    "is an archive without a disk in it",
  ],
  "up.tar": [
    () =>
      void sh(
        "printf x > p.txt && tar -P --transform 's,^p.txt,../../../../tmp/vireo-up.raw,' -cf up.tar p.txt",
      ),
    "is no disk",
  ],
  "two.tar": [
    () => void sh("cp disk.raw e.raw && tar cf two.tar disk.raw e.raw"),
    "has 2 disks (disk.raw, e.raw)",
  ],
  "cut.gz": [() => void sh("head -c 2000 d.raw.gz > cut.gz"), "is a damaged gzip archive"],
  "deep.gz": [
    () => void sh("cp d.raw.gz g && for i in 1 2 3 4 5 6; do gzip -c g > h; mv h g; done; mv g deep.gz"),
    "is an archive in an archive",
  ],
};

describe("a hostile file", () => {
  it.each(Object.entries(HOSTILE))("%s is refused, and leaves nothing", async (file, [make, says]) => {
    make();
    begin();
    await bring("hostile", join(source, file));
    const status = await over("hostile");
    expect(status.phase).toBe("Failed");
    expect(why(status)).toContain(says);
    expect(readdirSync(images)).toEqual([]);
    expect(existsSync("/tmp/vireo-up.raw")).toBe(false);
  });

  it.runIf(process.getuid?.() === 0)("is read by programs that reach nothing else", async () => {
    const work = mkdtempSync(join(folder, "confined-"));
    const [one, other] = [join(work, "one"), join(work, "other")];
    for (const path of [one, other]) writeFileSync(path, "");
    const [first = "", ...rest] = await confined(work, { reads: [one], writes: [other] });
    const look = [
      "id -u; readlink /proc/self/ns/net",
      ...[other, one, join(work, "third")].map((path) => `echo x > ${path}`),
      `cat /etc/passwd; kill -0 ${process.pid}`,
    ].join("\n");
    const { stdout, stderr } = spawnSync(first, [...rest, "sh", "-c", look], { encoding: "utf8" });
    expect(stdout).toMatch(/^199\d{3}\nnet:\[\d+\]\n$/);
    expect(stdout).not.toContain(readlinkSync("/proc/self/ns/net"));
    expect(readFileSync(other, "utf8")).toBe("x\n");
    expect(readFileSync(one, "utf8")).toBe("");
    for (const said of [
      "one: Read-only",
      "third: Read-only",
      "passwd: No such file",
      "Operation not permitted",
    ])
      expect(stderr).toContain(said);
    // Neither does qemu-img, if what names another file had not been found before.
    const { convert } = await import("./convert.ts");
    const path = join(source, "flat.vmdk");
    const trick = convert({ path, content: { disk: "vmdk" } }, work, 2 ** 30, new AbortController().signal);
    await expect(trick).rejects.toThrow("cannot be read as vmdk: No such file");
  });

  it("that unpacks to very much is holes, or is stopped", async () => {
    const { writeSparse } = await import("./unpack.ts");
    const { Readable } = await import("node:stream");
    const to = join(folder, "sparse");
    const none = new AbortController().signal;
    const zeros = () => {
      // Nobody reads a program before; what it says would be lost when it ends.
      expect(existsSync(to)).toBe(true);
      return Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(2 ** 20)));
    };
    await writeSparse(zeros, to, 1024, none);
    expect(statSync(to).size).toBe(64 * 2 ** 20);
    expect(statSync(to).blocks * 512).toBeLessThan(2 ** 20);
    const ones = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(2 ** 20, 1)));
    await expect(writeSparse(() => ones, to, 2 ** 20, none)).rejects.toThrow(
      "needs more than the 1 MiB that are free",
    );
  });
});

describe("an import that is broken off", () => {
  it.each(["disk", "CD"])("at any of its steps goes on, and is whole at the end (%s)", async (what) => {
    qemuImg("convert", "-O", "qcow2", disk, "k.qcow2");
    const path = what === "CD" ? iso : join(source, "k.qcow2");
    let steps = 0;
    // Dies at its nth write: the write is done, or not.
    for (let kill = 1, done = true; ; kill += done ? 1 : 0, done = !done) {
      const name = `killed-${kill}-${done ? "after" : "before"}`;
      const image = await bring(name, path);
      let writes = 0;
      const { client } = plane;
      const dying = overriding(client, {
        updateStatus: async (kind, object, signal) => {
          if (++writes === kill) {
            stop.abort();
            if (!done) throw new Error("killed");
          }
          return client.updateStatus(kind, object, signal);
        },
      });
      begin(dying);
      const finished = over(name);
      await Promise.race([finished, running]);
      await end();
      // What one that was really killed would have left, too.
      const work = importFolder(images, image);
      if (existsSync(work))
        for (const half of ["unpacked-0", "made.qcow2", "made.iso", "json"])
          writeFileSync(join(work, half), "half");
      begin();
      const status = await over(name);
      await finished;
      await end();
      expect(status.phase, `${name}: ${why(status)}`).toBe("Ready");
      const made = join(images, status.file ?? "");
      if (what === "CD") expect(sha256(made)).toBe(sha256(iso));
      else qemuImg("compare", "-q", "-f", "raw", "-F", "qcow2", disk, made);
      begin();
      await end();
      expect(readdirSync(images).filter((entry) => entry.startsWith("."))).toEqual([]);
      if (writes < kill) break;
      steps = kill;
    }
    expect(steps).toBeGreaterThan(3);
  });

  it("by the deletion of its image leaves nothing", async () => {
    begin();
    const spec = { import: { sha256: sha256(disk), bytes: statSync(disk).size } };
    const image = await plane.client.create(Image, { metadata: { name: "gone" }, spec });
    await receive(images, image, 0, Buffer.alloc(1000));
    await plane.client.delete(Image, { name: "gone" });
    const limit = Date.now() + 20_000;
    while (readdirSync(images).length > 0 && Date.now() < limit)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(readdirSync(images)).toEqual([]);
  });
});

describe("a URL", () => {
  let server: Server;
  let url: string;
  const asked: (string | undefined)[] = [];
  /** After so many bytes the connection is gone. */
  let cutAfter = Number.POSITIVE_INFINITY;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const { range } = request.headers;
      asked.push(range);
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
      const bytes = readFileSync(join(source, "disk.raw")).subarray(from);
      response.writeHead(from > 0 ? 206 : 200, { "content-length": bytes.length });
      const cut = bytes.subarray(0, cutAfter);
      response.write(cut, () => (cut.length < bytes.length ? response.destroy() : response.end()));
      cutAfter = Number.POSITIVE_INFINITY;
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/disk.raw`;
  });
  afterAll(() => server.close());

  it("with a password in it is refused: whoever may read the image could read it", async () => {
    const spec = { import: { sha256: "0".repeat(64), url: "https://user:secret@example.com/disk.raw" } };
    const made = plane.client.create(Image, { metadata: { name: "far" }, spec });
    await expect(made).rejects.toThrow(/^(?!.*secret).*spec\.import\.url: Forbidden/);
  });

  it("is fetched, and one that broke off goes on where it was", async () => {
    cutAfter = 2 ** 20;
    begin();
    await plane.client.create(Image, {
      metadata: { name: "far" },
      spec: { import: { sha256: sha256(disk), url } },
    });
    const limit = Date.now() + 20_000;
    while (
      asked.length === 0 ||
      (await plane.client.get(Image, { name: "far" }))?.status?.phase !== "Pending"
    ) {
      if (Date.now() > limit) throw new Error("it was not broken off");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // Another control plane; else it is tried again after a while.
    await end();
    begin();
    expect((await over("far")).phase).toBe("Ready");
    expect(asked[0]).toBeUndefined();
    expect(asked.at(-1)).toMatch(/^bytes=\d+-$/);
    truncateSync(disk, 3 * 2 ** 20);
  });
});
