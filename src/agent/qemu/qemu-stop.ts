/** The ladder by which a machine is stopped: power button, then `quit`, SIGTERM. The last step, SIGKILL, is taken only by who must. */
import { runState } from "../../qemu/migration.ts";
import { type Qmp, QmpError } from "../../qemu/qmp.ts";
import { isSame, type ProcessIdentity, sendSignal, waitForExit } from "../../system/process.ts";
import { HypervisorError } from "../hypervisor.ts";

const STATUS_MS = 2000;
const POWERDOWN_MS = 2000;
const QUIT_MS = 10_000;
const TERM_MS = 5000;
const KILL_MS = 60_000;

/** Only a guest that runs sees the power button; one that stands still is not woken for it: its disks may be another's by now. */
export async function pressPower(qmp: Qmp): Promise<boolean> {
  if ((await runState(qmp, STATUS_MS)) !== "running") return false;
  await qmp.execute("system_powerdown", undefined, POWERDOWN_MS);
  return true;
}

/** @returns whether the process is gone */
export async function stopOrderly(process: ProcessIdentity, monitor: () => Promise<Qmp>): Promise<boolean> {
  const say = async (command: string, timeoutMs: number): Promise<boolean> => {
    try {
      await (await monitor()).execute(command, undefined, timeoutMs);
      return true;
    } catch (error) {
      // `quit` closes the monitor, sometimes before it has answered.
      return error instanceof QmpError && error.errorClass === "Disconnected" && !isSame(process);
    }
  };
  // "": the monitor does not answer, or somebody else holds it.
  const status = await monitor()
    .then((qmp) => runState(qmp, STATUS_MS))
    .catch(() => "");
  if (status && isSame(process) && (await say("quit", QUIT_MS))) await waitForExit(process, QUIT_MS);
  if (!isSame(process)) return true;
  sendSignal(process, "SIGTERM"); // as orderly as `quit`, and needs no monitor
  return waitForExit(process, TERM_MS);
}

/** @throws HypervisorError when it is still there after a while: one that waits for its storage cannot be killed, and may write when that is back */
export async function endProcess(process: ProcessIdentity, name: string, timeoutMs = KILL_MS): Promise<void> {
  sendSignal(process, "SIGKILL");
  if (!(await waitForExit(process, timeoutMs)))
    throw new HypervisorError(
      `process ${process.pid} of ${name} cannot be killed; is its storage hung? Its host keeps its disks until it is gone`,
    );
}
