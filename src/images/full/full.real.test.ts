/** A small full image built by mmdebstrap and booted with QEMU: its maintainer scripts ran, systemd runs its services, the guest agent answers; and it is the same again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { run } from "../../system/run.ts";
import { buildImage } from "../build/builder.ts";
import type { BuiltImage } from "../kinds.ts";
import type { Recipe } from "../recipe.ts";
import { makeSeed } from "../seed.ts";
import { bootToEnd, NIC } from "../testing/boot.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-full-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe: Recipe = {
  mode: "full",
  distribution: "debian",
  release: "bookworm",
  packages: ["cron"],
  directories: ["/run/shop/now"],
  hostname: "shop",
  timeZone: "Europe/Berlin",
  branding: { osRelease: { variant: "Shop" } },
  users: [
    {
      name: "ada",
      groups: ["adm", "crontab"],
      sshAuthorizedKeys: ["ssh-ed25519 AAAB ada"],
      shell: "/bin/bash",
    },
  ],
  firstBoot: 'echo "first at $(date +%Z)" > /run/first; grep ^VARIANT /etc/os-release',
  services: [{ name: "greet", command: "/usr/bin/greet" }, { name: "debug-shell" }],
  files: [
    {
      path: "/usr/bin/greet",
      mode: "0755",
      content: `#!/bin/sh
echo "greet: $(hostname), $(cat /root/.ssh/authorized_keys), group $(getent group crontab | cut -d: -f1)"
echo "units: $(systemctl is-active cron debug-shell systemd-networkd | tr '\\n' ' '), failed: $(systemctl --failed --plain --no-legend)."
echo "apt: $(apt-get -s install cron 2>&1 | grep -o 'cron is already the newest version')"
echo "more: $(cat /run/first), $(id ada), $(stat -c %U /home/ada/.ssh/authorized_keys), $(ls /run/shop)"
exec sleep 1000
`,
    },
  ],
};
/** A base of packages that are not in the cache yet is made first. */
const BUILD_MS = 600_000;
const nothing = () => {};
/** Other tests may mount what is theirs at the same time. */
const mounted = () => readFileSync("/proc/self/mounts", "utf8").includes(folder);
let built: BuiltImage;

/** @returns what the guest agent answered in a moment */
const ping = (path: string) =>
  new Promise<string>((resolve) => {
    const socket = connect(path, () => socket.write('{"execute":"guest-ping"}\n'));
    socket.setTimeout(400, () => socket.destroy());
    socket.on("data", (bytes) => {
      resolve(String(bytes));
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(""));
  });

it(
  "boots with systemd, takes its name and keys, runs what packages and recipe bring, and powers down",
  async () => {
    const lines: string[] = [];
    const options = {
      name: "greet",
      recipe,
      folder: join(folder, "images"),
      cache: CACHE,
      progress: nothing,
    };
    built = await buildImage({ ...options, log: (line) => lines.push(line) });
    expect(mounted()).toBe(false);
    expect(readdirSync(options.folder).filter((name) => name.startsWith("."))).toEqual([]);
    expect(built.packages?.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["apt", "dpkg", "systemd-sysv", "cron", "busybox-static"]),
    );
    expect(lines.join("\n")).toContain("running apt-get update");

    const seed = join(folder, "seed.img");
    await makeSeed(seed, {
      instanceId: "1",
      hostname: "greeter",
      sshAuthorizedKeys: ["ssh-ed25519 AAAA me"],
    });
    const agent = join(folder, "agent.sock");
    let answer = "";
    const said = await bootToEnd(options.folder, built, {
      ...{ memoryMiB: 256, timeoutMs: BUILD_MS / 2 },
      devices: [
        ...[...NIC, "-device", "virtio-serial"],
        ...["-chardev", `socket,id=agent,path=${agent},server=on,wait=off`],
        ...["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
        ...["-drive", `file=${seed},if=virtio,format=raw,readonly=on`],
      ],
      isDone: async (text) => {
        if (text.includes("more: ") && !answer.includes("return")) answer += await ping(agent);
        return answer.includes("return");
      },
    });
    expect(said).toContain("greet: greeter, ssh-ed25519 AAAA me, group crontab");
    expect(said).toContain("units: active active active , failed: .");
    expect(said).toContain("apt: cron is already the newest version");
    expect(said).toMatch(
      /more: first at CET, uid=1000\(ada\) gid=1000\(ada\) groups=1000\(ada\),4\(adm\),\d+\(crontab\), ada, now/,
    );
    expect(said).toContain('VARIANT="Shop"');
    expect(answer).toContain('{"return": {}}');
  },
  2 * BUILD_MS,
);

it(
  "is the same, bit for bit, when it is built elsewhere from its lock",
  async () => {
    const lock = built.packages?.map(({ name, version, sha256 = "" }) => ({ name, version, sha256 })) ?? [];
    const elsewhere = join(folder, "elsewhere");
    const options = { name: "again", folder: elsewhere, cache: CACHE, progress: nothing };
    const again = await buildImage({ ...options, recipe: { ...recipe, lock } });
    expect(again.sha256).toBe(built.sha256);
    expect(again.packages).toEqual(built.packages);
    const raw = join(folder, "again.raw");
    await run("qemu-img", ["convert", "-O", "raw", join(elsewhere, again.file ?? ""), raw]);
    await run("e2fsck", ["-fn", raw]);
  },
  BUILD_MS,
);

it(
  "that nobody wants any more ends at once, and leaves nothing: no file, no mount, no process",
  async () => {
    const cancel = new AbortController();
    let at = 0;
    const log = (line: string) => {
      if (!line.includes("running --setup-hook")) return;
      at = performance.now();
      cancel.abort();
    };
    const options = { name: "unwanted", recipe, folder: join(folder, "unwanted"), cache: CACHE };
    await expect(buildImage({ ...options, progress: nothing, log, signal: cancel.signal })).rejects.toThrow(
      "aborted",
    );
    expect(at).toBeGreaterThan(0);
    expect(readdirSync(options.folder)).toEqual([]);
    expect(mounted()).toBe(false);
    const running = readdirSync("/proc").filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(options.folder);
      } catch {
        return false;
      }
    });
    expect(running).toEqual([]);
  },
  BUILD_MS,
);
