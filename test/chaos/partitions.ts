/** A few network namespaces on one bridge, any of which can be cut off from the others while this machine still reaches it. */
import { run } from "../../src/system/run.ts";

export interface Place {
  namespace: string;
  address: string;
}

export class Partitions {
  readonly places: readonly Place[];
  readonly #bridge: string;

  private constructor(bridge: string, places: readonly Place[]) {
    this.#bridge = bridge;
    this.places = places;
  }

  static async create(size: number): Promise<Partitions> {
    const bridge = `vt${process.pid.toString(36)}`;
    const third = process.pid % 250;
    const places = Array.from({ length: size }, (_, i) => ({
      namespace: `${bridge}-${i}`,
      address: `10.249.${third}.${i + 1}`,
    }));
    const made = new Partitions(bridge, places);
    await run("ip", ["link", "add", bridge, "type", "bridge"]);
    await run("ip", ["addr", "add", `10.249.${third}.254/24`, "dev", bridge]);
    await run("ip", ["link", "set", bridge, "up"]);
    for (const [i, { namespace, address }] of places.entries()) {
      const outer = `${bridge}p${i}`;
      await run("ip", ["netns", "add", namespace]);
      await run("ip", ["link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
      await run("ip", ["link", "set", outer, "master", bridge, "up"]);
      await run("ip", ["-n", namespace, "addr", "add", `${address}/24`, "dev", "eth0"]);
      await run("ip", ["-n", namespace, "link", "set", "eth0", "up"]);
      await run("ip", ["-n", namespace, "link", "set", "lo", "up"]);
    }
    return made;
  }

  /** From now on this one and the others drop each other's packets. */
  async cut(i: number): Promise<void> {
    const others = this.places.filter((_, j) => j !== i).map(({ address }) => address);
    const set = `{ ${others.join(", ")} }`;
    const rules = `table ip cut {
      chain in { type filter hook input priority 0; ip saddr ${set} drop; }
      chain out { type filter hook output priority 0; ip daddr ${set} drop; }
    }`;
    await run("ip", ["netns", "exec", this.#namespace(i), "nft", "-f", "-"], { input: rules });
  }

  async mend(i: number): Promise<void> {
    await run("ip", ["netns", "exec", this.#namespace(i), "nft", "delete", "table", "ip", "cut"]);
  }

  async remove(): Promise<void> {
    for (const { namespace } of this.places) await run("ip", ["netns", "del", namespace]);
    await run("ip", ["link", "del", this.#bridge]);
  }

  #namespace(i: number): string {
    const place = this.places[i];
    if (!place) throw new Error(`no place ${i}`);
    return place.namespace;
  }
}
