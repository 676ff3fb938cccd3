/** Devices of a machine that were given ids, and how a guest is asked to let go of one. */
import { isFields, type Qmp, QmpError } from "./qmp.ts";

/** How long a guest may take to let go of a device before we look again later. */
const LET_GO_MS = 3000;
const LOOK_MS = 100;

/** Of those that have one. */
export async function deviceIds(qmp: Qmp): Promise<string[]> {
  const listed = await qmp.execute("qom-list", { path: "/machine/peripheral" });
  return (Array.isArray(listed) ? listed : []).flatMap((each) => (isFields(each) ? [String(each.name)] : []));
}

/** Asks the guest to let go of a device. @returns whether it has */
export async function letGo(qmp: Qmp, id: string, ms = LET_GO_MS): Promise<boolean> {
  // It may have been asked before, and take its time.
  await quietly(qmp.execute("device_del", { id }));
  for (const deadline = Date.now() + ms; ; ) {
    if (!(await deviceIds(qmp)).includes(id)) return true;
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** What it refuses is so already. */
export async function quietly(asked: Promise<unknown>): Promise<void> {
  await asked.catch((error: unknown) => {
    if (!(error instanceof QmpError) || ["Timeout", "Disconnected"].includes(error.errorClass)) throw error;
  });
}
