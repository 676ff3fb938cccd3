/** Real etcd members for tests: Debian's, on free ports of this machine, with their data in memory. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../system/testing/free-port.ts";
import { EtcdClient } from "../etcd-client.ts";

/** A killed process loses nothing of what lies here, and members do not lose their leader to a busy disk. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export interface EtcdCluster {
  /** host:port for clients, one of each member. */
  endpoints: string[];
  /** kill -9. */
  kill(member: number): Promise<void>;
  start(member: number): void;
  /** Resolves when the member has come up to the others: it answers a linearizable read by itself. */
  healthy(member: number): Promise<void>;
  /** SIGSTOP: its connections stay open, and it says nothing. */
  pause(member: number): void;
  resume(member: number): void;
  stop(): Promise<void>;
}

/** Resolves when all members answer. `places`: a network namespace and an address for each member; without them all are at 127.0.0.1. `parent`: folder of their data. */
export async function startEtcd(
  size = 1,
  places: readonly { namespace: string; address: string }[] = [],
  parent = MEMORY,
): Promise<EtcdCluster> {
  const folder = mkdtempSync(join(parent, "vireo-etcd-"));
  const members = await Promise.all(
    Array.from({ length: size }, async (_, i) => ({
      name: `m${i}`,
      namespace: places[i]?.namespace,
      client: `${places[i]?.address ?? "127.0.0.1"}:${await freePort()}`,
      peer: `${places[i]?.address ?? "127.0.0.1"}:${await freePort()}`,
      process: undefined as ChildProcess | undefined,
    })),
  );
  const memberAt = (i: number) => {
    const member = members[i];
    if (!member) throw new Error(`no member ${i}`);
    return member;
  };
  const start = (i: number) => {
    const { name, namespace, client, peer } = memberAt(i);
    const [command = "", ...before] = [...(namespace ? ["ip", "netns", "exec", namespace] : []), "etcd"];
    memberAt(i).process = spawn(
      command,
      [
        before,
        ["--name", name],
        ["--data-dir", join(folder, name)],
        ["--listen-client-urls", `http://${client}`],
        ["--advertise-client-urls", `http://${client}`],
        ["--listen-peer-urls", `http://${peer}`],
        ["--initial-advertise-peer-urls", `http://${peer}`],
        ["--initial-cluster", members.map((m) => `${m.name}=http://${m.peer}`).join(",")],
        ["--log-level", "error"],
      ].flat(),
      { stdio: "ignore" },
    );
  };
  const kill = (i: number) =>
    new Promise<void>((done) => {
      const { process } = memberAt(i);
      if (!process || process.exitCode !== null || process.signalCode !== null) return done();
      process.once("exit", () => done());
      process.kill("SIGKILL");
    });
  const healthy = async (i: number) => {
    const client = new EtcdClient({ endpoints: [memberAt(i).client] });
    await client.read("Range", { key: Buffer.from("x") }).finally(() => client.close());
  };
  for (const i of members.keys()) start(i);
  await Promise.all([...members.keys()].map(healthy));
  return {
    endpoints: members.map(({ client }) => client),
    kill,
    start,
    healthy,
    pause: (i) => void memberAt(i).process?.kill("SIGSTOP"),
    resume: (i) => void memberAt(i).process?.kill("SIGCONT"),
    async stop() {
      await Promise.all([...members.keys()].map(kill));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
