/** What a machine uses, as charts of the time since its page was opened: the API tells how it is, and keeps no history. */
import { useEffect, useRef, useState } from "react";
import { size } from "../../ui/basics.tsx";
import { Chart } from "../../ui/chart.tsx";
import { bytesOf } from "../data/derive.ts";
import type { VirtualMachine } from "../data/kinds.ts";

type Usage = NonNullable<NonNullable<VirtualMachine["status"]>["usage"]>;

const EVERY_MS = 2000;
const MOST = 900;

interface History {
  times: number[];
  usages: (Usage | null)[];
}

function useHistory(vm: VirtualMachine): History {
  const current = useRef(vm);
  current.current = vm;
  const [history, setHistory] = useState<History>({ times: [], usages: [] });
  useEffect(() => {
    const look = () => {
      const { status } = current.current;
      const runs = ["Running", "Starting", "Migrating", "Paused"].includes(status?.phase ?? "");
      // The same is not written again: until it changes, it is so.
      const usage = (runs && status?.usage) || null;
      setHistory(({ times, usages }) => ({
        times: [...times.slice(-MOST), Date.now() / 1000],
        usages: [...usages.slice(-MOST), usage],
      }));
    };
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
  return (
    <div className="charts">
      <Chart
        title="CPU"
        times={times}
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
