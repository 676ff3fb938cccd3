/** What an installation has made of machines' networks in this namespace, and how it is taken away: its own alone, of which several may be here. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { run, succeeds } from "../../system/run.ts";
import type { Trace } from "../traces.ts";
import { Dnsmasq } from "./network-dhcp.ts";
import { guardTable } from "./network-guard.ts";
import { forgetTap, limitedTap } from "./network-limits.ts";
import { exists, linkName, ownerMark, ownerOf, tableComment, tableOf, tapName } from "./network-names.ts";
import { outwardTable } from "./outward.ts";

/** Whether taps of machines are on a bridge, or on that of a VXLAN. */
export const hasTaps = (link: string) =>
  ["brif", "master/brif"]
    .map((ports) => `/sys/class/net/${link}/${ports}`)
    .some((ports) => existsSync(ports) && readdirSync(ports).some((port) => port.startsWith("vrt")));

/** Whether a process has the tap open: the kernel tells it as the carrier, of a link that is up. */
function isOpen(tap: string): boolean {
  try {
    return readFileSync(`/sys/class/net/${tap}/carrier`, "utf8").trim() === "1";
  } catch {
    return false;
  }
}

/** Those of this state folder. */
async function links(stateFolder: string): Promise<string[]> {
  const all = (await run("ip", ["-o", "link", "show"])).matchAll(/^\d+: ([^:@]+)/gm);
  return [...all].flatMap(([, link = ""]) =>
    link.startsWith("vr") && exists(link) && ownerOf(link) === ownerMark(stateFolder) ? [link] : [],
  );
}

export async function removeLink(stateFolder: string, link: string): Promise<void> {
  if (!exists(link) || ownerOf(link) !== ownerMark(stateFolder)) return;
  await succeeds("ip", ["link", "del", link]);
  if (link.startsWith("vrt")) await forgetTap(link);
}

/** Tables that are Vireo's, and perhaps another installation's. */
async function tables(): Promise<{ family: string; table: string }[]> {
  const all = (await run("nft", ["list", "tables"])).matchAll(
    /^table (ip|inet|bridge|netdev) (vireo_\S+)$/gm,
  );
  return [...all].map(([, family = "", table = ""]) => ({ family, table }));
}

async function isOurs(stateFolder: string, family: string, table: string): Promise<boolean> {
  const text = await run("nft", ["list", "table", family, table]).catch(() => "");
  return text.includes(`"${tableComment(stateFolder)}"`);
}

export async function removeTable(stateFolder: string, family: string, table: string): Promise<void> {
  if (await isOurs(stateFolder, family, table)) await succeeds("nft", ["delete", "table", family, table]);
}

/** What an agent of this state folder has made in this namespace. */
export async function networkTraces(stateFolder: string): Promise<Trace[]> {
  const traces: Trace[] = [];
  // A tap first: it keeps the bridge.
  const found = (await links(stateFolder)).sort(
    (a, b) => Number(b.startsWith("vrt")) - Number(a.startsWith("vrt")),
  );
  for (const link of found)
    traces.push(
      link.startsWith("vrt")
        ? {
            what: `tap ${link}`,
            isNeeded: ({ instances, oddInstances }) =>
              isOpen(link) ||
              // Whose NICs these are cannot be read.
              oddInstances.size > 0 ||
              instances.some(({ metadata: { uid = "" }, spec }) =>
                spec.interfaces.some(({ mac }) => tapName({ uid, mac }) === link),
              ),
            remove: async () => {
              if (!isOpen(link)) await removeLink(stateFolder, link);
            },
          }
        : {
            what: `${link.startsWith("vrx") ? "VXLAN" : "bridge"} ${link}`,
            isNeeded: ({ networks }) =>
              hasTaps(link) ||
              [...networks].some((name) => [linkName("b", name), linkName("x", name)].includes(link)),
            remove: async () => {
              if (!hasTaps(link)) await removeLink(stateFolder, link);
            },
          },
    );
  for (const name of Dnsmasq.networks(stateFolder))
    traces.push({
      what: `DHCP of network ${name}`,
      isNeeded: ({ networks }) => networks.has(name) || hasTaps(linkName("b", name)),
      remove: async () => Dnsmasq.stop(stateFolder, name),
    });
  const lasting = [guardTable(stateFolder), outwardTable(stateFolder)];
  for (const { family, table } of await tables())
    if (!lasting.includes(table) && (await isOurs(stateFolder, family, table)))
      traces.push({
        what: `nftables table ${family} ${table}`,
        isNeeded: ({ networks }) =>
          family === "netdev"
            ? exists(limitedTap(table) ?? "none")
            : [...networks].some((name) => tableOf(name) === table),
        remove: () => removeTable(stateFolder, family, table),
      });
  return traces;
}

/** Takes away every bridge, VXLAN, tap, table and dnsmasq in this namespace that the agent of this state folder made. */
export async function removeNetworking(stateFolder: string): Promise<void> {
  await Dnsmasq.stopAll(stateFolder);
  for (const link of await links(stateFolder)) await removeLink(stateFolder, link);
  for (const { family, table } of await tables()) await removeTable(stateFolder, family, table);
}
