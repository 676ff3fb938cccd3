/** Opens the store that an address names. */
import { openEtcdStore } from "./etcd.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** The address is not one of a store. */
export class StoreAddressError extends Error {}

const FORM = "etcd://HOST:PORT[,HOST:PORT…][/PREFIX][?ca=FILE&cert=FILE&key=FILE]";

/**
 * What `etcd://…` says: members, where in etcd everything lies (/vireo by default), and files for TLS. @throws StoreAddressError
 */
export function parseEtcdAddress(address: string): Parameters<typeof openEtcdStore>[0] {
  const wrong = (what: string) =>
    new StoreAddressError(`--store ${address}: ${what}; it must look like ${FORM}`);
  const match = /^etcd:\/\/([^/?]+)(\/[^?]*)?(?:\?(.*))?$/.exec(address);
  if (!match) throw wrong("is not the address of a store");
  const [, hosts = "", path = "", query = ""] = match;
  const endpoints = hosts.split(",");
  for (const endpoint of endpoints)
    if (!/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(endpoint))
      throw wrong(`"${endpoint}" is not HOST:PORT`);
  const root = path.replace(/\/+$/, "") || "/vireo";
  if (!/^(\/[A-Za-z0-9._-]+)+$/.test(root)) throw wrong(`"${root}" is not a prefix such as /vireo`);
  const options = new URLSearchParams(query);
  for (const name of options.keys())
    if (!["ca", "cert", "key"].includes(name)) throw wrong(`there is no option "${name}"`);
  const [ca, cert, key] = ["ca", "cert", "key"].map((name) => options.get(name) || undefined);
  if ((cert || key) && !(ca && cert && key)) throw wrong("a client certificate needs ca, cert and key");
  return { endpoints, root, ...(ca ? { tls: { ca, ...(cert && key ? { cert, key } : {}) } } : {}) };
}

/** @param address `etcd://…`, or the path of SQLite's file. @throws StoreAddressError; what opening throws */
export function openStore(address: string): Promise<Store> {
  return address.includes("://") ? openEtcdStore(parseEtcdAddress(address)) : openSqliteStore(address);
}
