/**
 * Lets the unprivileged QEMUs of this host write-protect their guests' memory (userfaultfd), so that a guest runs on while its memory is
 * kept. The packages of libvirt set the same (sysctl.d/60-qemu-postcopy-migration.conf). Where it cannot be set, the guest stands still
 * meanwhile, and the snapshot says so.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Logger } from "../reconcile/log.ts";

const SYSCTL = "/proc/sys/vm/unprivileged_userfaultfd";

export function allowUserfaultfd(log: Logger): void {
  try {
    if (readFileSync(SYSCTL, "utf8").trim() === "0") writeFileSync(SYSCTL, "1");
  } catch (error) {
    log.warn("userfaultfd.off", { file: SYSCTL, error });
  }
}
