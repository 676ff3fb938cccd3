import { describe, expect, it } from "vitest";
import { endOf, type Remains } from "./end.ts";
import { parseJournal } from "./journal.ts";

const HELLO = '{"QMP": {"version": {}, "capabilities": ["oob"]}}\n{"return": {}}\n';
const shutdown = (reason: string, guest: boolean) =>
  `{"timestamp": {"seconds": 1, "microseconds": 5}, "event": "SHUTDOWN", "data": {"guest": ${guest}, "reason": "${reason}"}}\n`;
const PANICKED = '{"timestamp": {"seconds": 1}, "event": "GUEST_PANICKED", "data": {"action": "poweroff"}}\n';
const WATCHDOG = '{"timestamp": {"seconds": 1}, "event": "WATCHDOG", "data": {"action": "poweroff"}}\n';
const TERMINATED = "2026-01-02T03:04:05.678901Z qemu-system-x86_64: terminating on signal 15 from pid 7 ()";
const WARNING = "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.80000001H";

const end = (journal: string, more: Partial<Remains> = {}) =>
  endOf({ journal: parseJournal(journal), stderr: "", stopRequested: false, incoming: false, ...more });

describe("the end of a machine", () => {
  const table: [string, string, Partial<Remains>, string, RegExp][] = [
    ["ACPI power off", HELLO + shutdown("guest-shutdown", true), {}, "GuestShutdown", /shut itself down/],
    ["reset with -no-reboot", HELLO + shutdown("guest-reset", true), {}, "GuestReset", /reset/],
    ["panic", HELLO + PANICKED + shutdown("guest-panic", true), {}, "GuestPanic", /panicked/],
    ["quit", HELLO + shutdown("host-qmp-quit", false), {}, "Requested", /on request/],
    [
      "signal",
      HELLO + shutdown("host-signal", false),
      { stderr: TERMINATED },
      "HostSignal",
      /: terminating on signal 15 from pid 7 \(\)$/,
    ],
    ["an unknown reason", HELLO + shutdown("host-ui", false), {}, "Killed", /host-ui/],
    ["SIGKILL, seen", HELLO, { exit: { code: null, signal: "SIGKILL" } }, "Killed", /SIGKILL/],
    ["SIGKILL, not seen", HELLO, {}, "Killed", /SIGKILL/],
    ["out of memory", HELLO, { outOfMemory: () => "for want of memory" }, "OutOfMemory", /want/],
    ["the host was started anew", HELLO, { rebooted: true }, "HostRebooted", /started anew/],
    [
      "shut down, then the host was",
      HELLO + shutdown("guest-shutdown", true),
      { rebooted: true },
      "GuestShutdown",
      /shut/,
    ],
    [
      "watchdog that switches off",
      `${HELLO}${WATCHDOG}`,
      { exit: { code: 0, signal: null }, stderr: "i6300esb_timer_expired: I would send APIC 1 INT 10 here" },
      "Watchdog",
      /did not feed/,
    ],
    [
      "its device says something before",
      HELLO,
      { stderr: "i6300esb_timer_expired: I would send APIC 1 INT 10 here" },
      "Killed",
      /SIGKILL/,
    ],
    ["SIGKILL after warnings", HELLO, { stderr: WARNING }, "Killed", /SIGKILL/],
    ["segmentation fault", HELLO, { exit: { code: null, signal: "SIGSEGV" } }, "Crashed", /SIGSEGV/],
    ["seccomp", HELLO, { exit: { code: null, signal: "SIGSYS" } }, "Crashed", /SIGSYS/],
    ["last words", HELLO, { stderr: "qemu-system-x86_64: Failed to x" }, "Crashed", /: Failed to x$/],
    [
      "no start",
      '{"QMP": {}}\n',
      { stderr: `${WARNING}\nqemu-system-x86_64: -m 1P: too large`, exit: { code: 1, signal: null } },
      "StartFailed",
      /^-m 1P: too large$/,
    ],
    ["no start and no words", "", {}, "StartFailed", /before it had started/],
    ["killed while it started", "", { exit: { code: null, signal: "SIGKILL" } }, "Killed", /SIGKILL/],
    [
      "a migration that broke off",
      HELLO,
      { incoming: true, stderr: "qemu-system-x86_64: Size mismatch: pc.ram" },
      "MigrationFailed",
      /^Size mismatch: pc\.ram$/,
    ],
    ["an incoming one killed", HELLO, { incoming: true }, "MigrationFailed", /before everything had arrived/],
    [
      "stopped by us with the power button",
      HELLO + shutdown("guest-shutdown", true),
      { stopRequested: true },
      "Requested",
      /as asked/,
    ],
    ["killed by us", HELLO, { stopRequested: true }, "Requested", /on request/],
  ];
  it.each(table)("%s", (_, journal, more, reason, message) => {
    expect(end(journal, more)).toEqual({ reason, message: expect.stringMatching(message) });
  });

  it("is read from a journal that a full disk or a trim has damaged", () => {
    const last = shutdown("guest-shutdown", true);
    expect(end(`${HELLO}{"timestamp": {"sec${last}`)).toMatchObject({ reason: "GuestShutdown" });
    expect(end(`nds": 3}}\n${last}`)).toMatchObject({ reason: "GuestShutdown" });
    expect(end(`${HELLO}null\n17\n"x"\n[]\n${last}`)).toMatchObject({ reason: "GuestShutdown" });
  });
});
