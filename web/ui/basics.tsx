/** Badges, meters, buttons that say why they cannot be pressed, and times. */
import { type ReactNode, useId, useSyncExternalStore } from "react";
import { Button, Tooltip, TooltipTrigger } from "react-aria-components";

export type Tone = "ok" | "warn" | "bad" | "info" | "idle";

export function Badge({ tone, busy, children }: { tone: Tone; busy?: boolean; children: ReactNode }) {
  return (
    <span className={`badge ${tone}${busy ? " busy" : ""}`}>
      <span className="dot" aria-hidden="true" />
      {children}
    </span>
  );
}

/** Part of a whole, as a bar and in words. `value` between 0 and 1. */
export function Meter({ value, label, text }: { value: number; label: string; text: string }) {
  const percent = Math.max(0, Math.min(100, value * 100));
  return (
    // biome-ignore lint/a11y/useSemanticElements: <meter> cannot be styled alike in all browsers
    <div
      className={`meter${percent > 90 ? " high" : ""}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
      aria-valuetext={text}
    >
      <div className="track">
        <div className="fill" style={{ width: `${percent}%` }} />
      </div>
      <span className="small muted nowrap">{text}</span>
    </div>
  );
}

/** A button; with `whyNot` it cannot be pressed, but can be reached, and says the reason. */
export function Action({
  onPress,
  whyNot,
  kind = "",
  type = "button",
  label,
  children,
}: {
  onPress?: () => void;
  type?: "button" | "submit";
  /** Its name, when its text alone is not one. */
  label?: string;
  whyNot?: string | undefined;
  kind?: "" | "primary" | "danger" | "danger primary" | "quiet";
  children: ReactNode;
}) {
  const reason = useId();
  const button = (
    <Button
      type={type}
      className={`button ${kind}`}
      onPress={() => {
        if (!whyNot) onPress?.();
      }}
      {...(label ? { "aria-label": label } : {})}
      {...(whyNot ? { "aria-disabled": "true" as const, "aria-describedby": reason } : {})}
    >
      {children}
      {whyNot && (
        <span id={reason} className="unseen">
          {whyNot}
        </span>
      )}
    </Button>
  );
  if (!whyNot) return button;
  return (
    <TooltipTrigger delay={200}>
      {button}
      <Tooltip className="tip" offset={6}>
        {whyNot}
      </Tooltip>
    </TooltipTrigger>
  );
}

let now = Date.now();
const clocks = new Set<() => void>();
setInterval(() => {
  now = Date.now();
  for (const tick of clocks) tick();
}, 5000);
const subscribe = (tick: () => void) => {
  clocks.add(tick);
  return () => clocks.delete(tick);
};

/** "12 s", "5 min", "3 h", "9 d" */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** How long ago; the time itself as title. */
export function Ago({ time }: { time: string | undefined }) {
  const at = useSyncExternalStore(subscribe, () => now);
  if (!time) return <span className="muted">–</span>;
  return (
    <time dateTime={time} title={new Date(time).toLocaleString()} className="nowrap">
      {duration(at - Date.parse(time))}
    </time>
  );
}

/** Bytes as people say them: "1.5 GiB". */
export function size(bytes: number | undefined): string {
  if (bytes === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** What is under way: how far it is, and an end to it. */
export function Running({
  label,
  far,
  cancel,
  whyNot,
  children,
}: {
  label: string;
  /** How much of it is done, 0 to 1, and in words; where that is not told, since when it goes on. */
  far: { value: number; text: string } | { since: string };
  cancel: () => void;
  whyNot: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className="move">
      <span>{children}</span>
      {"since" in far ? (
        <span className="small muted nowrap">
          for <Ago time={far.since} />
        </span>
      ) : (
        <Meter label={label} value={far.value} text={far.text} />
      )}
      <Action onPress={cancel} whyNot={whyNot}>
        Cancel
      </Action>
    </div>
  );
}

export const Figure = ({ value, name }: { value: string; name: string }) => (
  <div className="figure">
    <b>{value}</b>
    <span>{name}</span>
  </div>
);
