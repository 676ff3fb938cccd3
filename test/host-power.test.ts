/** A host switched on and off as a user does it: a control plane, kubectl, `vireo host power`, ipmitool, and ipmi_sim as its BMC. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PASSWORD, type SimulatedHost, startIpmiSim, USERNAME } from "../src/power/testing/ipmi-sim.ts";
import { ROOT, Stack, until } from "./support/stack.ts";

let stack: Stack;
let sim: SimulatedHost;
let server: ChildProcess;
const log: string[] = [];

beforeAll(async () => {
  stack = await Stack.create();
  sim = await startIpmiSim();
  const main = ["--disable-warning=ExperimentalWarning", join(ROOT, "src/cli/main.ts")];
  const listen = ["server", "--listen", `127.0.0.1:${stack.port}`];
  server = spawn(process.execPath, [...main, "--state", stack.paths.state, ...listen], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  server.stderr?.on("data", (chunk) => log.push(String(chunk)));
  await until("the control plane", 60_000, async () => {
    const up = existsSync(stack.paths.kubeconfig) && (await stack.kubectl(["get", "hosts"])).code === 0;
    return up || undefined;
  });
});
afterAll(async () => {
  server.kill("SIGTERM");
  if (server.exitCode === null) await new Promise((resolve) => server.once("exit", resolve));
  sim.close();
  await stack.destroy();
});

const ok = async (ran: Promise<{ code: number; stdout: string; stderr: string }>) => {
  const { code, stdout, stderr } = await ran;
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
};
const power = (...args: string[]) => stack.vireo(["host", "power", ...args]);
/** One that a cluster of manifests would hold. */
const manifest = (port: number) => `
apiVersion: vireo.dev/v1
kind: Host
metadata:
  name: a
spec:
  bmc:
    ipmi: { address: 127.0.0.1, port: ${port}, cipherSuite: 3 }
    credentials: { name: bmc-a }
`;

it("vireo host power on, status, off", async () => {
  stack.keepEvidenceOnFailure();
  expect((await power("on", "a")).stderr).toMatch(/there is no host "a"/);
  await ok(
    stack.kubectl([
      ...["create", "secret", "generic", "bmc-a", "--type=vireo.dev/bmc"],
      ...[`--from-literal=username=${USERNAME}`, `--from-literal=password=${PASSWORD}`],
    ]),
  );
  await ok(stack.kubectl(["apply", "-f", "-"], manifest(sim.port)));
  expect(await ok(power("on", "a"))).toMatch(/host\/a is (switched on|being switched on)/);
  expect(sim.isOn()).toBe(true);
  expect(await ok(power("status", "host/a"))).toMatch(/host\/a: On since .*\nasked for: On: is switched on/);
  expect(await ok(power("off", "a"))).toMatch(
    /host\/a waits for its system to shut down.*\n.*is switched off/,
  );
  expect(sim.isOn()).toBe(false);
  expect(await ok(stack.kubectl(["get", "host", "a", "-o", "wide"]))).toMatch(/POWER.*\n.*Off/);
  // It does not heed: told once the time is over, and cut only when that is asked for.
  await ok(power("on", "a"));
  sim.setDeaf(true);
  await ok(
    stack.kubectl([
      "patch",
      "host",
      "a",
      "--type=merge",
      "-p",
      '{"spec":{"powerManagement":{"shutdownSeconds":10}}}',
    ]),
  );
  const failed = await power("off", "a");
  expect([failed.code, failed.stderr]).toEqual([1, expect.stringMatching(/did not shut down within 10 s/)]);
  expect(sim.isOn()).toBe(true);
  expect(await ok(power("off", "a", "--force"))).toMatch(/is switched off/);
  expect(sim.isOn()).toBe(false);

  expect(await ok(stack.vireo(["events", "--for", "host/a"]))).toMatch(
    /SwitchingOff.*because spec.power is Off/,
  );
  const shown = await ok(stack.kubectl(["get", "hosts,events.vireo.dev", "-o", "yaml"]));
  expect(shown + log.join("")).not.toContain(PASSWORD);
  expect(await ok(stack.kubectl(["explain", "host.spec.power"]))).toMatch(/ForceOff: its power is cut/);

  const policy =
    "apiVersion: vireo.dev/v1\nkind: PowerPolicy\nmetadata: { name: frugal }\nspec: { selector: {} }\n";
  await ok(stack.kubectl(["apply", "-f", "-"], policy));
  expect(await ok(stack.vireo(["explain", "host/a"]))).toMatch(
    /^host\/a\npower +Off\n(.*\n)*forecast +PowerPolicy frugal has not seen an hour like those of the next 45 minutes yet$/m,
  );
});
