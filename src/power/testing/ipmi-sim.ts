/**
 * A host whose BMC is OpenIPMI's ipmi_sim, a real one on the wire. Its chassis hook is a real script: the host is a process of its own, which
 * power on starts, power off kills, and a soft shutdown asks to end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const USERNAME = "vireo";
export const PASSWORD = "pass-of-the-bmc";

export interface SimulatedHost {
  port: number;
  isOn(): boolean;
  /** Whether its system heeds being asked to shut down. */
  setDeaf(deaf: boolean): void;
  /** What its BMC had its chassis do: "set power 1", … without questions. */
  orders(): string[];
  close(): void;
}

/** Takes a UDP port that is free now. */
async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

const hook = (folder: string) => `#!/bin/sh
# Arguments: the controller, then "get power", "set power 0|1" or "set shutdown 1".
cd ${folder} || exit 1
shift
is_on() { [ -e pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
if [ "$1" = get ]; then
  is_on && echo power:1 || echo power:0
  exit 0
fi
echo "$*" >>orders
case "$2 $3" in
  "power 1") is_on || { sleep 600 </dev/null >/dev/null 2>&1 & echo $! >pid; } ;;
  "power 0") is_on && kill -9 "$(cat pid)"; rm -f pid ;;
  "shutdown "*) [ -e deaf ] || { is_on && kill "$(cat pid)"; rm -f pid; } ;;
esac
exit 0
`;

/** @throws Error when ipmi_sim does not come up */
export async function startIpmiSim(): Promise<SimulatedHost> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-ipmi-"));
  const at = (name: string) => join(folder, name);
  const port = await freeUdpPort();
  mkdirSync(at("state"));
  writeFileSync(at("hook"), hook(folder), { mode: 0o755 });
  writeFileSync(
    at("lan.conf"),
    `name "host"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 ${port}
  priv_limit admin
  allowed_auths_user md5
  allowed_auths_operator md5
  allowed_auths_admin md5
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "${at("hook")} 0x20"
user 2 true "${USERNAME}" "${PASSWORD}" operator 10 md5
`,
  );
  writeFileSync(
    at("commands"),
    "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
  );
  const child: ChildProcess = spawn(
    "ipmi_sim",
    ["-n", "-c", at("lan.conf"), "-f", at("commands"), "-s", at("state")],
    { stdio: "ignore" },
  );
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) =>
      reject(new Error("ipmi_sim cannot be started; apt-get install openipmi", { cause })),
    );
  });
  const isOn = (): boolean => {
    if (!existsSync(at("pid"))) return false;
    try {
      process.kill(Number(readFileSync(at("pid"), "utf8")), 0);
      return true;
    } catch {
      return false;
    }
  };
  return {
    port,
    isOn,
    setDeaf: (deaf) => (deaf ? writeFileSync(at("deaf"), "") : rmSync(at("deaf"), { force: true })),
    orders: () => (existsSync(at("orders")) ? readFileSync(at("orders"), "utf8").trim().split("\n") : []),
    close: () => {
      child.kill("SIGKILL");
      if (isOn()) process.kill(Number(readFileSync(at("pid"), "utf8")), "SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
