import { readFileSync } from "node:fs";

let boot = "";

/** Another one after each start of the host; random(4). */
export function bootId(): string {
  boot ||= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}
