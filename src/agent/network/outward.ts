/**
 * What the QEMUs of this host reach over IP: nothing, neither the host's own ports (a store without TLS, the API, other agents) nor anything outside, but
 * for connections to where a live migration is just sending a machine. Who took a QEMU over would sit on the host's network. One nftables table of this namespace:
 *
 *   packet of a socket that a machine's user opened ─► goes on with a connection (no SYN alone): passes. Nobody without rights sends TCP otherwise
 *                                                  ├─► a guest's frame in a VXLAN: passes (see below)
 *                                                  ├─► begins one to where its machine is being sent (`allow`): passes
 *                                                  └─► anything else: refused at once, so that whoever forgot something here is told
 *
 * What guests send comes out of taps and is the business of network-guard.ts. But the kernel remembers of a frame who had the tap open, even when it is in a
 * packet of the VXLAN: those are told apart by a mark which is given on the way into the VXLAN, and which no user without rights can give.
 *
 * By users, not by the whole range of theirs: a host may have others in there (directories, containers).
 */
import { createHash } from "node:crypto";
import { parseTcp } from "../../qemu/sockets.ts";
import { run, succeeds } from "../../system/run.ts";
import { Serial } from "../../system/serial.ts";
import { tableComment } from "./network-names.ts";

/** Of packets of a VXLAN; one bit, the others are left to others. */
export const TUNNEL_MARK = "0x20000000";

/** How long after `allow` the connection may be made, s. Longer than the kernel needs to give one up that nobody answers is never of use. */
const ALLOWED_S = 120;

/** The name of its table: one for each installation in a namespace. */
export const outwardTable = (stateFolder: string): string =>
  `vireo_outward_${createHash("sha256").update(stateFolder).digest("hex").slice(0, 8)}`;

export class Outward {
  readonly #table: string;
  readonly #comment: string;
  /** One change at a time: `set` must not take out a user that has been let in meanwhile. */
  readonly #changes = new Serial();

  constructor(stateFolder: string) {
    this.#table = outwardTable(stateFolder);
    this.#comment = tableComment(stateFolder);
  }

  /** From now on; before anything runs as this user. */
  confine(user: number): Promise<void> {
    return this.#changes.run(async () => {
      if (!(await succeeds("nft", [`add element inet ${this.#table} users { ${user} }`])))
        await this.#write([user]);
    });
  }

  /** These and no others, and all rules are as they should be. @param users looked at when no `confine` is under way */
  set(users: () => readonly number[]): Promise<void> {
    return this.#changes.run(async () => {
      await this.#write(users(), [`flush set inet ${this.#table} users`]);
    });
  }

  /** Connections to "tcp:IP:PORT" may be made by this user for two minutes. @throws Error when it is no such address */
  allow(user: number, address: string): Promise<void> {
    const to = parseTcp(address);
    if (!to) throw new Error(`${address} is not an address to send a machine to`);
    const set = to.host.includes(":") ? "sends6" : "sends";
    const key = `${user} . ${to.host} . ${to.port}`;
    const element = (verb: string, more = "") =>
      `${verb} element inet ${this.#table} ${set} { ${key}${more} }`;
    // Of one that is there already, the time would not begin anew.
    const timed = element("add", ` timeout ${ALLOWED_S}s`);
    const script = [timed, element("delete"), timed].join("\n");
    return this.#changes.run(async () => {
      if (await succeeds("nft", [script])) return;
      await this.#write([user]);
      await run("nft", [script]);
    });
  }

  /** In one transaction. What is allowed just now stays so. */
  async #write(users: readonly number[], before: readonly string[] = []): Promise<void> {
    const elements = users.length > 0 ? `elements = { ${[...new Set(users)].join(", ")} }` : "";
    const sends = (address: string) => `type uid . ${address} . inet_service; flags timeout;`;
    const input = `
      table inet ${this.#table} {
        comment "${this.#comment}"
        set users { type uid; }
        set sends { ${sends("ipv4_addr")} }
        set sends6 { ${sends("ipv6_addr")} }
        chain machines {
        }
        chain output {
          type filter hook output priority 0; policy accept;
        }
      }
      ${before.join("\n")}
      flush chain inet ${this.#table} machines
      flush chain inet ${this.#table} output
      table inet ${this.#table} {
        set users { type uid; ${elements} }
        chain machines {
          tcp flags & (syn | ack) != syn accept
          udp dport 4789 meta mark & ${TUNNEL_MARK} == ${TUNNEL_MARK} accept
          meta skuid . ip daddr . tcp dport @sends accept
          meta skuid . ip6 daddr . tcp dport @sends6 accept
          meta l4proto tcp reject with tcp reset
          reject with icmpx type admin-prohibited
        }
        chain output {
          meta skuid @users jump machines
        }
      }
    `;
    await run("nft", ["-f", "-"], { input });
  }
}
