import { histogram, readGauge } from "../telemetry/metrics.ts";
import { inSpan } from "../telemetry/tracing.ts";
import { overlay } from "./overlay.ts";
import { CompareFailed, OutcomeUnknown, type Store } from "./store.ts";

const duration = histogram(
  "vireo_store_commit_duration_seconds",
  "Time from a write to its being durable, by its outcome.",
  ["outcome"],
);
const revisions = readGauge(
  "vireo_store_revision",
  "The newest revision of the store that this process has seen.",
);

function outcomeOf(error: unknown): string {
  if (error instanceof CompareFailed) return "conflict";
  return error instanceof OutcomeUnknown ? "unknown" : "failed";
}

/** The store, with metrics of its writes. */
export function measuredStore(inner: Store): Store {
  const stop = revisions(() => [[{}, inner.revision()]]);
  return overlay(inner, {
    async commit(write) {
      const end = duration.startTimer();
      try {
        const entry = await inSpan("store commit", { "vireo.key": write.key }, () => inner.commit(write));
        end({ outcome: "committed" });
        return entry;
      } catch (error) {
        end({ outcome: outcomeOf(error) });
        throw error;
      }
    },
    async close() {
      stop();
      await inner.close();
    },
  });
}
