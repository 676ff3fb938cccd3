/** Bad input, as a user gives it to kubectl and to `vireo up`: each error names the field and helps, and nothing is lost or started. */
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Image } from "../src/images/kinds.ts";
import { getCondition } from "../src/resource/object.ts";
import { run, Stack, until } from "./support/stack.ts";

let stack: Stack;
let folder: string;

beforeAll(async () => {
  stack = await Stack.create();
  folder = join(tmpdir(), `vireo-bad-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  const { code, stdout, stderr } = await stack.up(["--hosts", "2"]);
  if (code !== 0) throw new Error(stdout + stderr);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

const vm = (name: string, spec: string) =>
  `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

/** Applies without the client's own validation, so that the server's is seen. */
const apply = (manifest: string) => stack.kubectl(["create", "--validate=false", "-f", "-"], manifest);

async function readyMessage(name: string): Promise<string> {
  return until(`a message of vm/${name}`, 20_000, async () => {
    const object = await stack.client.get(VirtualMachine, { name, namespace: "default" });
    const message = getCondition(object?.status?.conditions, "Ready")?.message;
    return message && /no |not |needs|requires/.test(message) ? message : undefined;
  });
}

describe("the API refuses", () => {
  it.each([
    ["memory without a unit", "{ memory: 512, image: web }", /spec\.memory.*512 has no unit/],
    ["negative memory", '{ memory: "-1Gi", image: web }', /spec\.memory.*is negative/],
    ["absurd memory", "{ memory: 1e99Gi, image: web }", /spec\.memory.*is not a size/],
    ["a path as a name of an image", "{ memory: 1Gi, image: ../../etc/passwd }", /spec\.image/],
    ["no memory at all", "{ image: web }", /spec\.memory: Required value/],
  ])("%s", async (_what, spec, expected) => {
    const { code, stderr } = await apply(vm("bad", spec));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(expected);
  });

  it("a name with ../", async () => {
    const { code, stderr } = await apply(vm('"../bad"', "{ memory: 1Gi, image: web }"));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/metadata\.name|invalid/i);
  });

  it("two networks that overlap", async () => {
    const { code, stderr } = await apply(
      "apiVersion: vireo.dev/v1\nkind: Network\nmetadata: { name: other }\nspec: { subnet: 10.77.0.0/16 }\n",
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/spec\.subnet.*overlaps 10\.77\.\d+\.0\/24 of the network "default"/);
  });

  it("a manifest of 50 MB", async () => {
    const file = join(folder, "large.yaml");
    writeFileSync(file, `${vm("large", "{ memory: 1Gi, image: web }")}# `);
    const fd = openSync(file, "a");
    for (let i = 0; i < 50; i++) writeFileSync(fd, "x".repeat(2 ** 20));
    closeSync(fd);
    const { code, stderr } = await stack.up(["-f", file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/large\.yaml: \d+ bytes are more than a manifest may have/);
  });
});

describe("vireo up refuses before it starts anything", () => {
  it.each([
    [
      "a YAML bomb",
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
      /bad\.yaml:1: .*alias/i,
    ],
    [
      "a kind that is none",
      "apiVersion: vireo.dev/v1\nkind: Machine\nmetadata: { name: x }\n",
      /bad\.yaml:1: kind: "Machine" is unknown/,
    ],
    ["broken YAML", "apiVersion: [\nkind: x\n", /bad\.yaml:\d+: /],
    ["a key twice", "apiVersion: vireo.dev/v1\nkind: Policy\nkind: Policy\n", /bad\.yaml:3: .*unique/i],
  ])("%s", async (_what, text, expected) => {
    const file = join(folder, "bad.yaml");
    writeFileSync(file, text);
    const { code, stderr } = await stack.up(["-f", file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(expected);
  });

  it("an unknown field, naming it and the place of the document", async () => {
    const file = join(folder, "unknown.yaml");
    writeFileSync(file, vm("unknown", "{ memory: 1Gi, image: web, colour: red }"));
    const { code, stderr } = await stack.up(["-f", file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/unknown\.yaml:1: .*unknown field "spec\.colour"/);
  });
});

describe("vireo up of an installation that is there", () => {
  it("refuses another store, rather than going on with the old one in silence", async () => {
    const { code, stderr } = await stack.up(["--store", "etcd://127.0.0.1:1/other"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/--store: this installation has its state in SQLite/);
  });
});

describe("what cannot run says why", () => {
  it("an image that does not exist", async () => {
    expect((await apply(vm("no-image", "{ memory: 1Gi, image: nowhere }"))).code).toBe(0);
    expect(await readyMessage("no-image")).toMatch(/image nowhere.*(not exist|no such|no image)/i);
  });

  it("a rule with a slip", async () => {
    const { code, stderr } = await apply(
      "apiVersion: vireo.dev/v2\nkind: Policy\nmetadata: { name: slip }\nspec: { selector: {}, required: [host.cpu.mzh >= 9000] }\n",
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /spec\.required\[0\]: Invalid value: column 10: host\.cpu has no "mzh"; did you mean "mhz"\?.*\n {2}host\.cpu\.mzh >= 9000\n {11}\^/,
    );
  });

  it("a policy that nothing can satisfy, and a machine larger than every host", async () => {
    const file = join(stack.paths.pool, "images", "disk.img");
    writeFileSync(file, "");
    truncateSync(file, 2 ** 20);
    writeFileSync(file, Buffer.concat([Buffer.alloc(510), Buffer.from([0x55, 0xaa]), Buffer.alloc(2 ** 20)]));
    await apply(
      "apiVersion: vireo.dev/v1\nkind: Image\nmetadata: { name: disk }\nspec: { file: disk.img }\n",
    );
    await apply(
      "apiVersion: vireo.dev/v2\nkind: Policy\nmetadata: { name: never }\nspec: { selector: { matchLabels: { tier: never } }, required: [host.cpu.mhz >= 9000] }\n",
    );
    await apply(
      vm("strict", "{ memory: 64Mi, image: disk }").replace("strict }", "strict, labels: { tier: never } }"),
    );
    await apply(vm("huge", "{ memory: 1Ti, image: disk }"));
    await until(
      "both to say why",
      30_000,
      async () => {
        const [strict, huge] = [await readyMessage("strict"), await readyMessage("huge")];
        return strict.includes(
          'fast-1: policy "never" requires host.cpu.mhz >= 9000 (host.cpu.mhz is 3800)',
        ) &&
          strict.includes("frugal-1") &&
          /fast-1: needs 1Ti memory, \d+Mi|fast-1: needs 1Ti memory/.test(huge)
          ? true
          : undefined;
      },
      async () => `${await readyMessage("strict")} / ${await readyMessage("huge")}`,
    );
  });

  it.each([
    [
      "a file that is no image",
      "text.img",
      (path: string) => writeFileSync(path, "this is not a disk\n".repeat(100)),
      /text\.img: is no disk/,
    ],
    [
      "an image whose backing file is outside the pool",
      "evil.qcow2",
      undefined,
      /evil\.qcow2: needs another file below it, the backing file .*\/etc\/hostname.*flatten/,
    ],
    ["a file that is not there", "gone.qcow2", () => {}, /gone\.qcow2: there is no such file/],
  ])("%s", async (_what, name, make, expected) => {
    const path = join(stack.paths.pool, "images", name);
    if (make) make(path);
    else
      await run("qemu-img", ["create", "-u", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", path, "1G"]);
    const object = name.replace(/\..*/, "");
    expect(
      (
        await apply(
          `apiVersion: vireo.dev/v1\nkind: Image\nmetadata: { name: ${object} }\nspec: { file: ${name} }\n`,
        )
      ).code,
    ).toBe(0);
    const message = await until(`image/${object} to fail`, 20_000, async () => {
      const image = await stack.client.get(Image, { name: object });
      return image?.status?.phase === "Failed"
        ? getCondition(image.status.conditions, "Ready")?.message
        : undefined;
    });
    expect(message).toMatch(expected);
  });

  it("a package that does not exist, with a suggestion, in seconds", async () => {
    const { code, stderr } = await stack.vireo(["image", "build", "typo", "--package", "nginx-ligth"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/there is no package "nginx-ligth"; did you mean "nginx-light"/);
  });

  it("a full disk while an image is built: says so, and nothing is left behind but the log", async () => {
    const pool = join(folder, "small");
    mkdirSync(pool);
    expect((await run("mount", ["-t", "tmpfs", "-o", "size=20m", "tmpfs", pool])).code).toBe(0);
    try {
      await apply(
        `apiVersion: vireo.dev/v1\nkind: StoragePool\nmetadata: { name: small }\nspec: { directory: { path: ${pool}, shared: true } }\n`,
      );
      await apply(
        "apiVersion: vireo.dev/v1\nkind: Image\nmetadata: { name: full }\nspec: { storagePool: small, recipe: { packages: [nginx-light] } }\n",
      );
      const message = await until("image/full to fail", 60_000, async () => {
        const image = await stack.client.get(Image, { name: "full" });
        return image?.status?.phase === "Failed"
          ? getCondition(image.status.conditions, "Ready")?.message
          : undefined;
      });
      expect(message).toMatch(/no space left in .*small/);
      const files = (await run("find", [pool, "-type", "f", "-printf", "%P\\n"])).stdout;
      expect(files).toMatch(/^(build-logs\/full-1-\w+\.log\n)?$/);
    } finally {
      await run("umount", [pool]);
    }
  });
});
