/** What the links and tables of machines' networks are called, and how an installation knows its own. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

/** Interface names have at most 15 bytes. Names that are longer are cut, with a hash that keeps them apart. */
export function linkName(kind: "b" | "x" | "t", name: string): string {
  const plain = `vr${kind}-${name}`;
  if (plain.length <= 15) return plain;
  return `vr${kind}-${name.slice(0, 5)}${createHash("sha256").update(name).digest("hex").slice(0, 6)}`;
}

/** Whether a link of a host's namespace is one of ours: a bridge, VXLAN or tap of machines, or a bridge of development hosts (cli/devnet.ts). */
export const isOwnLink = (name: string) => /^vr[bxtd]/.test(name);

/** No two networks share one: names have '-', and those of older installations also '.', but never '_'. */
export const tableOf = (network: string) => `vireo_${network.replaceAll("-", "_")}`;
/** nft's limit for a comment is 128 bytes: the hash stands for the folder, whatever its length. */
export const tableComment = (stateFolder: string) =>
  `made by vireo, ${createHash("sha256").update(stateFolder).digest("hex").slice(0, 16)}`;

export const ownerMark = (stateFolder: string) => `vireo ${stateFolder}`.slice(0, 255);
export const ownerOf = (link: string) => readFileSync(`/sys/class/net/${link}/ifalias`, "utf8").trim();

/** By the run, not by the MAC alone: that is the machine's for life, and the clean-up after one run must not take the tap of the next. */
export function tapName({ uid, mac }: { uid: string; mac: string }): string {
  return `vrt${createHash("sha256").update(`${uid} ${mac}`).digest("hex").slice(0, 10)}`;
}

export const exists = (link: string) => existsSync(`/sys/class/net/${link}`);
