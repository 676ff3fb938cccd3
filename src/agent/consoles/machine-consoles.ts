/** The consoles of this host's machines: their serial ports, each listened to from before its guest runs or from when an agent finds it; their screens. */
import type { Socket } from "node:net";
import { join } from "node:path";
import { takeScreenshot } from "../../qemu/display.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import { connectAt } from "../../qemu/unix-socket.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isFields } from "../../resource/fields.ts";
import { insideOf } from "../../system/enclosure.ts";
import type { ProcessIdentity } from "../../system/process.ts";
import { HypervisorError, type MachineId } from "../hypervisor.ts";
import type { MachineFolder, MachineRecord } from "../qemu/qemu-record.ts";
import { takePicture } from "./picture.ts";
import { SerialLog } from "./serial-log.ts";
import { SerialPort } from "./serial-port.ts";

const ACCEPT_MS = 5000;

export interface ConsoleAccess {
  /** @throws HypervisorError when it does not run */
  machine(id: MachineId): { folder: MachineFolder; record: MachineRecord; process: ProcessIdentity };
  /** @throws HypervisorError */
  monitor<T>(id: MachineId, work: (qmp: Qmp) => Promise<T>): Promise<T>;
  log: Logger;
}

export class MachineConsoles {
  readonly #access: ConsoleAccess;
  readonly #ports = new Map<MachineId, Promise<SerialPort>>();
  /** Of machines that this agent has listened to: QEMU closes a port only when it ends. */
  readonly #known = new Set<MachineId>();

  constructor(access: ConsoleAccess) {
    this.#access = access;
  }

  /** @throws HypervisorError */
  async serial(id: MachineId): Promise<SerialPort> {
    const { folder, record } = this.#access.machine(id);
    return this.#listen(id, folder).catch((cause: unknown) => {
      throw new HypervisorError(`${record.config.name}: its QEMU does not answer on its serial port`, {
        cause,
      });
    });
  }

  /** A connection to its VNC server, which speaks first. @throws HypervisorError */
  async display(id: MachineId): Promise<Socket> {
    const { folder } = this.#withDisplay(id);
    const socket = connectAt(folder.files.vnc);
    return new Promise((resolve, reject) => {
      socket.once("connect", () => resolve(socket));
      // One that was started before agents gave machines a VNC server.
      socket.once("error", (cause) =>
        reject(
          new HypervisorError("its screen cannot be shown before it was stopped and started again", {
            cause,
          }),
        ),
      );
    });
  }

  /** A PNG of its screen as it is now. @throws HypervisorError */
  async screenshot(id: MachineId): Promise<Buffer> {
    const { folder, record, process } = this.#withDisplay(id);
    const { user } = record.config;
    const pictures = folder.lendForScreenshots(user);
    return takePicture(insideOf(process.pid, pictures), user.uid, (name) =>
      this.#access.monitor(id, (qmp) => takeScreenshot(qmp, join(pictures, name))),
    );
  }

  /** Of a machine whose guest does not run yet: what it says first is not missed. That it cannot be had stops no machine. */
  async begin(id: MachineId, folder: MachineFolder, qmp: Qmp): Promise<void> {
    try {
      await this.#listen(id, folder);
      // The kernel has taken the connection; QEMU may not have yet, and would drop what is said until then.
      const deadline = performance.now() + ACCEPT_MS;
      while (!(await isListenedTo(qmp))) {
        if (performance.now() > deadline) throw new Error("QEMU does not take the connection");
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    } catch (error) {
      this.#access.log.warn("serial.listen", { id, error });
    }
  }

  /** Of a machine that was found running. */
  async find(id: MachineId, folder: MachineFolder): Promise<void> {
    await this.#listen(id, folder).catch((error: unknown) =>
      this.#access.log.warn("serial.listen", { id, error }),
    );
  }

  drop(id: MachineId): void {
    const port = this.#ports.get(id);
    this.#ports.delete(id);
    this.#known.delete(id);
    void port?.then(
      (open) => open.close(),
      () => undefined,
    );
  }

  close(): void {
    for (const id of [...this.#ports.keys()]) this.drop(id);
  }

  async #listen(id: MachineId, folder: MachineFolder): Promise<SerialPort> {
    const kept = this.#ports.get(id);
    if (kept) return kept;
    const { serialSocket, serialLog } = folder.files;
    const again = !this.#known.has(id) && SerialLog.exists(serialLog);
    const log = new SerialLog(serialLog);
    this.#known.add(id);
    const forget = () => {
      if (this.#ports.get(id) === made) this.#ports.delete(id);
    };
    const made = SerialPort.open(serialSocket, {
      again,
      log,
      onEnd: forget,
      onError: (error) => this.#access.log.warn("serial.log", { id, error }),
    });
    this.#ports.set(id, made);
    made.catch(forget);
    return made;
  }

  #withDisplay(id: MachineId): ReturnType<ConsoleAccess["machine"]> {
    const found = this.#access.machine(id);
    const { hardware } = found.record.config;
    if ((hardware?.video ?? "none") !== "none") return found;
    throw new HypervisorError(
      "the machine has no display (spec.hardware.video is none): set that to vga, and restart it; or use its serial console",
    );
  }
}

/** QEMU's words for a server's socket without a client begin with "disconnected:". */
async function isListenedTo(qmp: Qmp): Promise<boolean> {
  const all = await qmp.execute("query-chardev");
  const serial = Array.isArray(all) ? all.find((one) => isFields(one) && one.label === "serial") : undefined;
  return isFields(serial) && !String(serial.filename).startsWith("disconnected");
}
