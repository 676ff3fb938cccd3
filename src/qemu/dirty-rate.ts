/**
 * How fast a guest writes to its memory, as QEMU samples it: some pages are compared with what they were two seconds before. No page's dirty bit is touched, so it goes on under any accelerator and
 * beside anything else. To look at a page that the guest has never touched has the host allocate it: 128 pages are half a MiB for each GiB of memory. Their number and the time make one
 * page stand for 4 MiB a second.
 */
import { isUnderWay, runState } from "./migration.ts";
import { isFields, type Qmp } from "./qmp.ts";

/** The fewest that QEMU takes, of each GiB. */
const SAMPLE_PAGES = 128;
const CALC_SECONDS = 2;
/** From its start on, with what QEMU needs besides. */
export const MEASURED_AFTER_MS = CALC_SECONDS * 1000 + 1000;
const MiB = 2 ** 20;

/**
 * @returns false: not now, because the guest stands still, one is measured already, or its memory is on its way. Of one that waits for pages of a
 * post-copy QEMU would wait for them, too. @throws QmpError
 */
export async function startDirtyRate(qmp: Qmp): Promise<boolean> {
  if ((await runState(qmp)) !== "running" || (await isUnderWay(qmp))) return false;
  if ((await query(qmp)).status === "measuring") return false;
  await qmp.execute("calc-dirty-rate", { "calc-time": CALC_SECONDS, "sample-pages": SAMPLE_PAGES });
  return true;
}

/** Bytes per second, of the measurement that was started last; undefined: it has not ended. @throws QmpError */
export async function readDirtyRate(qmp: Qmp): Promise<number | undefined> {
  const { status, "dirty-rate": rate } = await query(qmp);
  return status === "measured" && typeof rate === "number" && rate >= 0 ? rate * MiB : undefined;
}

const query = async (qmp: Qmp) => {
  const answer = await qmp.execute("query-dirty-rate");
  return isFields(answer) ? answer : {};
};
