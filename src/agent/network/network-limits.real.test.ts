/** How much gets through a limited tap, in both directions: real packets, between a namespace in the place of the guest and its gateway. Needs root. */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Network } from "../../compute/networks/kinds.ts";
import { run } from "../../system/run.ts";
import { Networking } from "./network.ts";
import { networkTraces, removeNetworking } from "./network-leftovers.ts";
import { tapName } from "./network-names.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-limits-"));
chmodSync(folder, 0o755);
const lan: Network = {
  apiVersion: "vireo.dev/v1",
  kind: "Network",
  metadata: { name: "limits" },
  spec: { subnet: "10.198.9.0/24", nat: false, mtu: 1450 },
};
const GATEWAY = "10.198.9.1";
const user = { uid: 200_001, gid: 200_000 };
const nic = { uid: "one", mac: "52:54:00:9b:00:01", address: "10.198.9.11" };
const tap = tapName(nic);
const namespace = "vrt-limits";
const networking = new Networking({ stateFolder: folder, address: "127.0.0.1" });

const MiB = 2 ** 20;
const SIZE = 3 * MiB;
const RATE = MiB;
/** Whoever connects sends a byte that says what he wants: to receive SIZE bytes, or to send them and be told when they are there. */
let server: Server;

beforeAll(async () => {
  await networking.ensure(lan, [], []);
  await run("ip", ["netns", "add", namespace]);
  const peer = ["peer", "name", "eth0", "address", nic.mac, "netns", namespace];
  await run("ip", ["link", "add", tap, "type", "veth", ...peer]);
  await networking.ensureTap(lan, nic, user);
  await run("ip", ["-n", namespace, "link", "set", "eth0", "up"]);
  await run("ip", ["-n", namespace, "addr", "add", `${nic.address}/24`, "dev", "eth0"]);
  server = createServer((socket) => {
    socket.on("error", () => {});
    let received = -1;
    socket.on("data", (data) => {
      if (received < 0 && data[0] === 114) socket.end(Buffer.alloc(SIZE));
      received += data.length;
      if (received >= SIZE) socket.end("all");
    });
  });
  await new Promise<void>((done) => server.listen(0, GATEWAY, done));
});
afterAll(async () => {
  server.close();
  await networking.removeTap(nic);
  await run("ip", ["netns", "del", namespace]);
  await removeNetworking(folder);
  rmSync(folder, { recursive: true, force: true });
});

const CLIENT = `
  const [port, what] = process.argv.slice(1);
  const begun = performance.now();
  const socket = require("node:net").connect(Number(port), "${GATEWAY}");
  socket.write(what === "receive" ? "r" : Buffer.concat([Buffer.from("s"), Buffer.alloc(${SIZE})]));
  socket.on("data", () => {});
  socket.on("close", (failed) => console.log(failed ? "failed" : (performance.now() - begun) / 1000));
`;

/** Bytes a second of SIZE bytes, as the guest sees it. */
async function rate(what: "receive" | "send"): Promise<number> {
  const address = server.address();
  const port = typeof address === "object" ? String(address?.port) : "";
  const child = spawn("ip", ["netns", "exec", namespace, process.execPath, "-e", CLIENT, port, what]);
  let said = "";
  for await (const data of child.stdout) said += String(data);
  return SIZE / Number(said);
}
const limit = (limits: { receive?: number; send?: number }) => networking.ensureTap(lan, nic, user, limits);
const rules = () => run("nft", ["list", "tables", "netdev"]);
/** What was saved in a second of silence may go at once (send), and what a bucket holds. */
const MOST = { receive: (SIZE / (SIZE - MiB / 8)) * RATE, send: (SIZE / (SIZE - 1.2 * MiB)) * RATE };

it.each(["receive", "send"] as const)(
  "what a guest may %s is limited at once, and no more once the limit is taken away",
  async (what) => {
    expect(await rate(what)).toBeGreaterThan(4 * RATE);
    await limit({ [what]: RATE });
    const limited = await rate(what);
    expect(limited).toBeLessThan(MOST[what]);
    expect(limited).toBeGreaterThan(RATE / 10);
    // The other direction is not.
    const other = what === "receive" ? "send" : "receive";
    expect(await rate(other)).toBeGreaterThan(4 * RATE);
    await limit({});
    expect(await rate(what)).toBeGreaterThan(4 * RATE);
    expect(await rules()).not.toContain(tap);
  },
  60_000,
);

it("limits that somebody has taken away come back at the agent's next look, also that of a new agent", async () => {
  const both = { receive: RATE, send: RATE };
  await limit(both);
  const nics = [{ ...nic, tap, network: lan, limits: both }];
  const look = async () => {
    const queues = await run("tc", ["qdisc", "show", "dev", tap]);
    return [/tbf .*rate (\S+)/.exec(queues)?.[1], (await rules()).includes(tap)];
  };
  expect(await look()).toEqual(["8388Kbit", true]);
  for (const agent of [networking, new Networking({ stateFolder: folder, address: "127.0.0.1" })]) {
    await run("nft", ["delete", "table", "netdev", `vireo_limit_${tap}`]);
    await run("tc", ["qdisc", "del", "dev", tap, "root"]);
    await agent.guard(nics);
    expect(await look()).toEqual(["8388Kbit", true]);
  }
});

it("a tap that is made again after somebody took it away has its limits again", async () => {
  const other = {
    uid: "0f0f0f0f-0000-4000-8000-000000000000",
    mac: "52:54:00:00:00:77",
    address: "192.0.2.77",
  };
  const again = () => networking.ensureTap(lan, other, user, { receive: RATE });
  const made = await again();
  await run("ip", ["link", "del", made]);
  await again();
  expect(await run("tc", ["qdisc", "show", "dev", made])).toContain("qdisc tbf");
  await networking.removeTap(other);
});

it("the limits of a tap that is gone are a leftover, and others' are not touched", async () => {
  const name = "vrt0123456789";
  const table = (comment: string) =>
    run("nft", ["-f", "-"], { input: `table netdev vireo_limit_${name} { comment "${comment}"; }` });
  const ours = /comment "(.*)"/.exec(
    await run("nft", ["list", "table", "netdev", `vireo_limit_${tap}`]),
  )?.[1];
  const nobody = { instances: [], oddInstances: new Set<string>(), networks: new Set(["limits"]) };
  const left = async () =>
    (await networkTraces(folder)).filter(
      (trace) => trace.what.includes("vireo_limit_") && !trace.isNeeded(nobody),
    );
  await table("made by vireo, of another installation");
  expect(await left()).toEqual([]);
  await run("nft", ["delete", "table", "netdev", `vireo_limit_${name}`]);
  await table(ours ?? "");
  const [trace, ...more] = await left();
  expect([trace?.what, more]).toEqual([`nftables table netdev vireo_limit_${name}`, []]);
  await trace?.remove();
  expect(await rules()).not.toContain(name);
  await networking.removeTap(nic);
  expect(await rules()).not.toContain(tap);
});
