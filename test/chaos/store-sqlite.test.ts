/**
 * kill -9 of the control plane (SQLite) again and again while clients write, read and watch: nothing acknowledged is lost, every read is
 * linearizable, watches have no gaps. 300 rounds: VIREO_CHAOS_ROUNDS=300 ./vireo test store-sqlite
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connect } from "../../src/cli/connect.ts";
import { statePaths } from "../../src/cli/paths.ts";
import { Lease } from "../../src/reconcile/kinds.ts";
import { freePort } from "../../src/system/testing/free-port.ts";
import { ROOT, until } from "../support/stack.ts";
import { ChaosClients } from "./clients.ts";
import { check } from "./histories.ts";
import { Random } from "./random.ts";

const ROUNDS = Number(process.env.VIREO_CHAOS_ROUNDS ?? 20);
const SEED = Number(process.env.VIREO_CHAOS_SEED ?? 11);
const WRITERS = 6;
const WATCHERS = 3;

let state: string;
let port: number;
let server: ChildProcess | undefined;
beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), "vireo-chaos-"));
  port = await freePort();
});
afterEach(async () => {
  await kill();
  rmSync(state, { recursive: true, force: true });
});

function start(): void {
  const main = join(ROOT, "src/cli/main.ts");
  server = spawn(process.execPath, [main, "--state", state, "server", "--listen", `127.0.0.1:${port}`], {
    stdio: "ignore",
  });
}
const kill = () =>
  new Promise<void>((done) => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return done();
    server.once("exit", () => done());
    server.kill("SIGKILL");
  });
const newClient = () => connect(statePaths(state).kubeconfig);
const answers = () =>
  until("the control plane to answer", 20_000, async () => {
    try {
      const client = newClient();
      await client.list(Lease).finally(() => client.close());
      return true;
    } catch {
      return undefined;
    }
  });

it(`${ROUNDS} rounds lose nothing, double nothing, and leave no gap`, {
  timeout: 60_000 + ROUNDS * 6000,
}, async () => {
  const random = new Random(SEED);
  start();
  await answers();
  const clients = new ChaosClients(random);
  for (let i = 0; i < WRITERS; i++) clients.write(newClient());
  for (let i = 0; i < WATCHERS; i++) clients.watch(newClient());
  for (let round = 0; round < ROUNDS; round++) {
    await new Promise((resolve) => setTimeout(resolve, random.below(700)));
    await kill();
    start();
    await answers();
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  await clients.stop();
  const last = newClient();
  for (const key of ["chaos-0", "chaos-1", "chaos-2", "chaos-3"]) await clients.read(last, key);
  const counts = { acknowledged: clients.acknowledged, operations: clients.operations.length };
  process.stdout.write(`kill -9, SQLite, ${ROUNDS} rounds: ${JSON.stringify(counts)}\n`);
  expect(check(clients.operations, clients.watches)).toEqual([]);
  expect(clients.odd).toEqual([]);
  expect(clients.acknowledged).toBeGreaterThan(ROUNDS);
});
