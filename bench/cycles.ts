/**
 * What 100 starts and stops and 100 live moves to and fro leave behind: an installation of its own with two hosts in a temporary folder, a
 * guest of one boot sector that hears its power button, with a TPM and a NIC.
 *
 *   node bench/cycles.ts [STARTS] [MOVES]
 *
 * Ends with 1 when a process, link, packet filter, file, socket, mount, control group or file descriptor is left.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectTo } from "../src/cli/connect.ts";
import { statePaths } from "../src/cli/paths.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { runCycles } from "../test/support/cycles.ts";
import { count } from "./measure.ts";

const starts = count(process.argv[2], 100, "STARTS");
const moves = count(process.argv[3], 100, "MOVES");
const print = (line: string) => process.stdout.write(`${line}\n`);
const state = mkdtempSync(join(tmpdir(), "vireo-bench-"));
chmodSync(state, 0o755);
const paths = statePaths(state);
const vireo = (...args: string[]) =>
  execFileSync(join(import.meta.dirname, "../vireo"), ["--state", state, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
const port = await freePort();
try {
  vireo("up", "--port", `${port}`, "--hosts", "2", "--detach");
  const client = connectTo({ paths });
  const began = performance.now();
  const left = await runCycles({
    paths,
    client,
    hosts: ["fast-1", "frugal-1"],
    startStops: starts,
    migrations: moves,
    print,
  });
  client.close();
  print(
    `${starts} starts and stops and ${moves} moves in ${((performance.now() - began) / 1000).toFixed(0)} s`,
  );
  print(left.length === 0 ? "nothing is left of them" : `left:\n  ${left.join("\n  ")}`);
  if (left.length > 0) process.exitCode = 1;
} finally {
  vireo("down", "--yes");
  rmSync(state, { recursive: true, force: true });
}
