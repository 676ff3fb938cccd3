/**
 * A BMC over IPMI 2.0, through ipmitool. Its password goes by the environment (-E), never by the command line, which every user of this machine can
 * read. Asks for the privilege OPERATOR only, the least that may switch power. Verified against ipmitool 1.8.19 and OpenIPMI's ipmi_sim.
 */
import { CommandError, run } from "../system/run.ts";
import { type Bmc, BmcError, type Credentials, type PowerState } from "./bmc.ts";
import type { Ipmi } from "./kinds.ts";

/** IPMI 2.0's own limits, in bytes. */
const MAX_USERNAME = 16;
const MAX_PASSWORD = 20;
const TIMEOUT_MS = 20_000;
/** What it says besides the reason. */
const NOISE = /^(?:Unable to Get Channel Cipher Suites|Get HPM\.x Capabilities request failed.*)$/;

/** @throws BmcError for credentials that IPMI has no room for */
export function openIpmi({ address, port, cipherSuite }: Ipmi, { username, password }: Credentials): Bmc {
  const what = `the BMC at ${address}, UDP port ${port}`;
  if (Buffer.byteLength(username) > MAX_USERNAME || Buffer.byteLength(password) > MAX_PASSWORD)
    throw new BmcError(
      `${what}: IPMI has room for a username of ${MAX_USERNAME} bytes and a password of ${MAX_PASSWORD}; the Secret has longer ones`,
    );
  const chassis = async (command: string, doing: string): Promise<string> => {
    const args = ["-I", "lanplus", "-H", address, "-p", String(port), "-U", username, "-E"];
    const suite = cipherSuite === undefined ? [] : ["-C", String(cipherSuite)];
    // Of a lost datagram: three tries of 2 s.
    const limits = ["-L", "OPERATOR", "-N", "2", "-R", "3"];
    try {
      return await run("ipmitool", [...args, ...suite, ...limits, "chassis", "power", command], {
        env: { IPMI_PASSWORD: password },
        timeoutMs: TIMEOUT_MS,
      });
    } catch (error) {
      throw new BmcError(`${what} could not be ${doing}: ${explain(error)}`, { cause: error });
    }
  };
  return {
    state: async (): Promise<PowerState> => {
      const said = await chassis("status", "asked whether the host is on");
      const match = /^Chassis Power is (on|off)\s*$/m.exec(said);
      if (!match) throw new BmcError(`${what} gave an answer about power that makes no sense`);
      return match[1] === "on" ? "On" : "Off";
    },
    on: async () => void (await chassis("on", "told to switch the host on")),
    shutDown: async () => void (await chassis("soft", "told to have the host shut down (ACPI)")),
    cut: async () => void (await chassis("off", "told to cut the host's power")),
  };
}

/** What ipmitool said, in words that help. */
function explain(error: unknown): string {
  if (!(error instanceof CommandError)) return "ipmitool could not be run";
  if (error.missing)
    return "ipmitool is not installed where the control plane runs; apt-get install ipmitool";
  const lines = error.message
    .replace(/^ipmitool: /, "")
    .split("\n")
    .filter((line) => !NOISE.test(line.trim()));
  const said = lines.join("; ").slice(0, 300) || "ipmitool ended without a word";
  if (/Unable to establish/.test(said))
    return `it does not answer, or refuses the username or password (ipmitool: ${said}); is address and port right, IPMI over LAN switched on there, and the user allowed OPERATOR?`;
  return `ipmitool: ${said}`;
}
