/**
 * What an idle estate costs outside QEMU: the CPU time of the control plane, the agents and dnsmasq of the running installation, as a
 * share of one core. Beside it, as the measure of the machine itself, the same for the QEMU processes.
 *
 *   ./vireo up --hosts 3 -f examples/shop.yaml --detach
 *   node bench/idle.ts [SECONDS] [STATE]
 *
 * Ends with 1 when Vireo's own part is above the bar, 3 % of one core.
 */
import { readdirSync, readFileSync } from "node:fs";
import { statePaths } from "../src/cli/paths.ts";
import { count, cpuMs } from "./measure.ts";

const seconds = count(process.argv[2], 60, "SECONDS");
const paths = statePaths(process.argv[3]);
const BAR_PERCENT = 3;

/** Clock ticks used so far by each process of the installation. */
function times(): Map<string, { kind: "ours" | "qemu"; name: string; ms: number }> {
  const found = new Map<string, { kind: "ours" | "qemu"; name: string; ms: number }>();
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (pid === String(process.pid) || !args.some((arg) => arg.includes(paths.state))) continue;
      const kind = args[0]?.includes("qemu-system") ? "qemu" : "ours";
      const name = args[0]?.endsWith("node") ? args.slice(3, 8).join(" ") : (args[0] ?? "");
      found.set(pid, { kind, name, ms: cpuMs(pid) });
    } catch {
      // ended in the meantime
    }
  }
  return found;
}

const before = times();
if (before.size === 0) {
  process.stderr.write(`nothing of ${paths.state} runs\n`);
  process.exit(1);
}
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const sums = { ours: 0, qemu: 0 };
for (const [pid, now] of times()) {
  const used = now.ms - (before.get(pid)?.ms ?? now.ms);
  sums[now.kind] += used;
  if (used > 0)
    process.stdout.write(`${(used / 10 / seconds).toFixed(2).padStart(7)} %  ${now.kind}  ${now.name}\n`);
}
const share = (n: number) => (n / 10 / seconds).toFixed(2);
process.stdout.write(
  `over ${seconds} s: Vireo ${share(sums.ours)} % of one core, its QEMUs ${share(sums.qemu)} %\n`,
);
if (Number(share(sums.ours)) > BAR_PERCENT) {
  process.stderr.write(`above the bar of ${BAR_PERCENT} % of one core\n`);
  process.exitCode = 1;
}
