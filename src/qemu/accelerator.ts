/**
 * Does KVM really run guests here? That /dev/kvm opens, and even that QEMU starts with it, proves nothing: on nested or
 * paravirtual KVMs guests have been seen to crawl a thousand times slower than native. Only executing a guest and timing it tells.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

export interface AcceleratorVerdict {
  accelerator: "kvm" | "tcg";
  /** For people: what was found out. */
  reason: string;
  ms: number;
}

/**
 * A 64 KiB ROM: real mode, protected mode, long mode with paging, a million memory increments, a hundred TLB flushes, then
 * `out 0xf4`, which ends QEMU with code 133. Source: probe.s beside this file; built by
 *   as --64 --defsym N=1000000 probe.s -o probe.o && ld -m elf_x86_64 -Ttext 0 --oformat binary -e 0 probe.o -o probe.bin
 */
const PROBE_ROM =
  "H4sIAAAAAAACA+3QP0okQRQH4DcMCyZDGSyLbGIzBxDdE4jRhN5AA+kTaC5M7CCY6REM1nBGBFsM1GgNJ5xUBRFUVgRpq/0TeAa/L6j3e4/qrqKe58rU+nUXqajK/nkrdavy+nfU9VSUw+kYjAfV4PIotiMWquMoIkbxM+J+/+xH07TnI3LKa3uxSTNNWn6b5b4fTXpaadKkTsWkf16k7mTYfJm649FmRJX+dKKV2/l8fifv38wXuN7N589E7+xkcSnlchqrEb1+u9WrLzb+5/Fa3piKcf5HM3k8WCoPH+L24eZlaz0+1XVe9v69152Puvc3ZuPyPQMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHxzV52vb/AKkUQxigAAAQA=";
const EXIT_CODE = 133;
/** Native execution takes milliseconds, QEMU's start a few hundred; a broken KVM has been seen to take from 1.3 to 16 s, TCG 0.1 to 0.2. */
const LIMIT_S = 2.5;
const TCG_LIMIT_S = 30;
/** Of CPU time, which does not tell how busy the machine is: so quick is only what runs natively, or as well as. */
const SURELY_CPU_MS = 300;
/** What runs natively takes less than TCG, which has to translate it. */
const AS_QUICK = 2;

/** Runs the probe once; takes up to LIMIT_S when KVM is broken. Never throws: what cannot be probed is TCG, with the reason. */
export async function probeAccelerator(binary = "qemu-system-x86_64"): Promise<AcceleratorVerdict> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return { accelerator: "tcg", reason: "/dev/kvm is absent or not accessible", ms: 0 };
  }
  const folder = mkdtempSync(join(tmpdir(), "vireo-probe-"));
  try {
    const rom = join(folder, "probe.bin");
    writeFileSync(rom, gunzipSync(Buffer.from(PROBE_ROM, "base64")));
    const { code, ms, cpuMs } = await runProbe(binary, rom, "kvm", LIMIT_S);
    if (code === EXIT_CODE) {
      const emulated = cpuMs > SURELY_CPU_MS ? await runProbe(binary, rom, "tcg", TCG_LIMIT_S) : undefined;
      if (emulated?.code === EXIT_CODE && cpuMs > AS_QUICK * emulated.cpuMs) {
        const reason = `a probe guest took ${cpuMs} ms of CPU time under KVM, and ${emulated.cpuMs} ms under TCG`;
        return { accelerator: "tcg", reason, ms };
      }
      return { accelerator: "kvm", reason: `a probe guest ran under KVM in ${ms} ms`, ms };
    }
    return {
      accelerator: "tcg",
      reason:
        code === KILLED
          ? `/dev/kvm opens, but a probe guest did not finish under KVM within ${LIMIT_S} s`
          : `a probe guest failed under KVM with code ${code}`,
      ms,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Run {
  /** QEMU's exit code; KILLED when the time was over. */
  code: number;
  ms: number;
  /** Of QEMU. */
  cpuMs: number;
}

/** Of timeout(1), when it had to end what it runs. */
const KILLED = 137;
/** times(1p): the second line is of what was waited for, user and system. */
const TIMED = 'timeout -s KILL "$@"; code=$?; times; exit $code';

function runProbe(
  binary: string,
  rom: string,
  accelerator: "kvm" | "tcg",
  limitSeconds: number,
): Promise<Run> {
  const args = [
    ...["-accel", accelerator, "-M", "q35", "-m", "16"],
    ...["-no-user-config", "-nodefaults", "-display", "none"],
    ...["-bios", rom, "-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
  ];
  const begin = performance.now();
  return new Promise((resolve) => {
    execFile("sh", ["-c", TIMED, "sh", `${limitSeconds}`, binary, ...args], (error, stdout) => {
      const code = error ? (typeof error.code === "number" ? error.code : -1) : 0;
      const waited = stdout.trimEnd().split("\n").at(-1) ?? "";
      const seconds = [...waited.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s));
      const cpuMs = Math.round(1000 * seconds.reduce((sum, each) => sum + each, 0));
      resolve({ code, ms: Math.round(performance.now() - begin), cpuMs });
    });
  });
}
