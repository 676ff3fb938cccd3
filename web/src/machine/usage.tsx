/** What a machine uses, as charts of the time since its page was first opened: the API tells how it is, and keeps no history. */
import { useEffect, useRef, useState } from "react";
import { size } from "../../ui/basics.tsx";
import { Chart } from "../../ui/chart.tsx";
import { bytesOf } from "../data/derive.ts";
import type { VirtualMachine } from "../data/kinds.ts";

type Usage = NonNullable<NonNullable<VirtualMachine["status"]>["usage"]>;

const EVERY_MS = 2000;
const MOST = 900;
const MOST_MACHINES = 40;

interface History {
  times: readonly number[];
  usages: readonly (Usage | null)[];
}

/** By machine: who comes back to one finds what was seen of it. */
const histories = new Map<string, History>();

function usageOf({ status }: VirtualMachine): Usage | null {
  const runs = ["Running", "Starting", "Migrating", "Paused"].includes(status?.phase ?? "");
  return (runs && status?.usage) || null;
}

function withNow(vm: VirtualMachine, now = Date.now()): History {
  const uid = vm.metadata.uid ?? "";
  const usage = usageOf(vm);
  // The same is not written again: until it changes, it is so. So it has been since its own time.
  const since = Date.parse(usage?.time ?? "");
  const known = histories.get(uid);
  const before =
    known ?? (since < now ? { times: [since / 1000], usages: [usage] } : { times: [], usages: [] });
  const history = {
    times: [...before.times.slice(-MOST), now / 1000],
    usages: [...before.usages.slice(-MOST), usage],
  };
  histories.delete(uid);
  histories.set(uid, history);
  const [oldest] = histories.keys();
  if (histories.size > MOST_MACHINES && oldest !== undefined) histories.delete(oldest);
  return history;
}

function useHistory(vm: VirtualMachine): History {
  const current = useRef(vm);
  current.current = vm;
  const [history, setHistory] = useState<History>({ times: [], usages: [] });
  useEffect(() => {
    const look = () => setHistory(withNow(current.current));
    look();
    const timer = setInterval(look, EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return history;
}

const rate = (bytes: number) => `${size(bytes)}/s`;

export function UsageCharts({ vm }: { vm: VirtualMachine }) {
  const { times, usages } = useHistory(vm);
  const of = (pick: (usage: Usage) => number | undefined) =>
    usages.map((usage) => (usage ? (pick(usage) ?? null) : null));
  const why = usages.some(Boolean)
    ? undefined
    : usageOf(vm) || vm.status?.phase === "Running"
      ? "Collecting: its host tells what it uses some seconds after it has started."
      : "It does not run.";
  return (
    <div className="charts">
      <Chart
        title="CPU"
        times={times}
        why={why}
        most={Math.min(1, vm.spec.cpus)}
        format={(value) => value.toFixed(2)}
        series={[
          { name: "CPUs used", color: "accent", values: of(({ cpus }) => cpus) },
          { name: "waited for", color: "warn", values: of(({ stolenCpus }) => stolenCpus) },
        ]}
      />
      <Chart
        title="Memory"
        times={times}
        why={why}
        most={bytesOf(vm.spec.memory)}
        format={size}
        bytes
        series={[
          { name: "host", color: "accent", values: of(({ hostMemoryBytes }) => hostMemoryBytes) },
          {
            name: "guest",
            color: "info",
            values: of(({ guestMemoryBytes }) => guestMemoryBytes),
          },
        ]}
      />
      <Chart
        title="Disks"
        times={times}
        why={why}
        most={1024 * 1024}
        format={rate}
        bytes
        series={[
          { name: "read", color: "accent", values: of(({ disk }) => disk.readBytesPerSecond) },
          { name: "written", color: "info", values: of(({ disk }) => disk.writtenBytesPerSecond) },
        ]}
      />
      <Chart
        title="Network"
        times={times}
        why={why}
        most={128 * 1024}
        format={rate}
        bytes
        series={[
          { name: "received", color: "accent", values: of(({ network }) => network.receivedBytesPerSecond) },
          { name: "sent", color: "info", values: of(({ network }) => network.sentBytesPerSecond) },
        ]}
      />
    </div>
  );
}
