/**
 * From `create` of a VirtualMachine at the API to the first thing its guest does, against the same QEMU command line run by hand: an
 * installation of its own in a temporary folder, a guest of one boot sector that writes to its serial port at once. Both times end when
 * that is seen, so the BIOS is in both.
 *
 *   node bench/start.ts [ROUNDS]
 *
 * Ends with 1 when Vireo takes 150 ms more than the command line (medians).
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectTo } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Image } from "../src/images/kinds.ts";
import { writeBootDisk } from "../src/qemu/testing/boot-sectors.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { count, median, spread, until, within } from "./measure.ts";

const rounds = count(process.argv[2], 10, "ROUNDS");
const BAR_MS = 150;
const WARM_UP = 2;
const namespace = "default";
const print = (line: string) => process.stdout.write(`${line}\n`);

const hasSaid = (log: string) => existsSync(log) && statSync(log).size > 0;

const state = mkdtempSync(join(tmpdir(), "vireo-bench-"));
chmodSync(state, 0o755);
const paths = statePaths(state);
const vireo = (...args: string[]) =>
  execFileSync(join(import.meta.dirname, "../vireo"), ["--state", state, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
const port = await freePort();
vireo("up", "--port", `${port}`, "--detach");
const client = connectTo({ paths });
try {
  const disk = join(paths.pool, "images/boots.raw");
  mkdirSync(join(paths.pool, "images"), { recursive: true });
  writeBootDisk(disk, "old");
  chmodSync(disk, 0o644);
  await client.create(Image, {
    metadata: { name: "boots" },
    spec: { storagePool: "default", file: "boots.raw" },
  });
  await until(
    "the image",
    async () => ((await client.get(Image, { name: "boots" }))?.status?.phase === "Ready" ? true : undefined),
    { everyMs: 20 },
  );

  const [host = ""] = readdirSync(join(state, "hosts"));
  const run = join(paths.host(host), "run");
  const serialLogs = () =>
    (existsSync(run) ? readdirSync(run) : []).map((name) => join(run, name, "serial", "0".repeat(16)));
  const [byVireo, byHand]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds + WARM_UP; round++) {
    const at = { name: `start-${round}`, namespace };
    const before = new Set(serialLogs());
    const began = performance.now();
    await client.create(VirtualMachine, {
      metadata: at,
      spec: { memory: "128Mi", image: "boots", readiness: { none: true }, restart: "Never" },
    });
    const log = await until("the guest", () => serialLogs().find((log) => !before.has(log) && hasSaid(log)), {
      everyMs: 1,
    });
    const took = performance.now() - began;
    const running = await until(
      "Running",
      async () => {
        const [instance] = (await client.list(Instance, { namespace })).items.filter(
          ({ spec }) => spec.vm === at.name,
        );
        return instance?.status?.phase === "Running" ? instance : undefined;
      },
      { everyMs: 20 },
    );
    const { pid = 0 } = running.status ?? {};
    const [binary = "", ...args] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    const [, uid = "0", gid = "0"] =
      /^Uid:\t(\d+)[\s\S]*^Gid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    // Its guest does not hear the power button.
    process.kill(pid, "SIGKILL");
    await until(
      "its end",
      async () => ((await client.get(VirtualMachine, at))?.status?.phase === "Failed" ? true : undefined),
      { everyMs: 20 },
    );
    const hand = await runByHand(binary, args, join(log, "../.."), { uid: Number(uid), gid: Number(gid) });
    await client.delete(VirtualMachine, at);
    await until("no more of it", async () => ((await client.get(VirtualMachine, at)) ? undefined : true), {
      everyMs: 20,
    });
    if (round < WARM_UP) continue;
    byVireo.push(took);
    byHand.push(hand);
  }
  const more = median(byVireo) - median(byHand);
  print(`create of the machine to its guest's first word: ${spread(byVireo)}`);
  print(`the same command line, run by hand:              ${spread(byHand)}`);
  print(
    `Vireo over the command line: ${more.toFixed(0)} ms, ${(median(byVireo) / median(byHand)).toFixed(2)} times (bar ${BAR_MS} ms)`,
  );
  if (!within([more], BAR_MS)) process.exitCode = 1;
} finally {
  client.close();
  vireo("down", "--yes");
  rmSync(state, { recursive: true, force: true });
}

/** The same arguments but for `-S`, with a folder and a tap of its own. @returns ms until the guest says something */
async function runByHand(
  binary: string,
  args: readonly string[],
  folder: string,
  user: { uid: number; gid: number },
): Promise<number> {
  const own = mkdtempSync(join(tmpdir(), "vh-"));
  chownSync(own, user.uid, user.gid);
  mkdirSync(join(own, "s"));
  chownSync(join(own, "s"), user.uid, user.gid);
  const ours = args.map((arg) =>
    arg.replaceAll(folder, own).replace(/"ifname":"vrt(.*?)"/, '"ifname":"vrh$1"'),
  );
  const taps = ours.flatMap((arg) => /"ifname":"([^"]+)"/.exec(arg)?.[1] ?? []);
  for (const tap of taps)
    execFileSync("ip", ["tuntap", "add", "dev", tap, "mode", "tap", "user", `${user.uid}`, "vnet_hdr"]);
  const log = join(own, "s/serial.log");
  // There is no agent that writes it.
  const withLog = ours.map((arg) => (arg.startsWith("socket,id=serial,") ? `${arg},logfile=${log}` : arg));
  const began = performance.now();
  const child = spawn(
    binary,
    withLog.filter((arg) => arg !== "-S"),
    {
      ...user,
      cwd: "/",
      stdio: ["pipe", "ignore", "inherit"],
    },
  );
  await until("the guest by hand", () => (hasSaid(log) ? true : undefined), { everyMs: 1 });
  const took = performance.now() - began;
  const ended = new Promise((resolve) => child.on("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  for (const tap of taps) execFileSync("ip", ["link", "del", tap]);
  rmSync(own, { recursive: true });
  return took;
}
