/** What came of something that was asked for, at the edge of the page. Errors stay until they are put away. */
import { useSyncExternalStore } from "react";
import { messageOf } from "../src/data/api.ts";
import { Icon } from "./icons.tsx";

interface Toast {
  id: number;
  tone: "ok" | "bad";
  text: string;
}
let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();
const set = (next: readonly Toast[]) => {
  toasts = next;
  for (const listener of listeners) listener();
};
const dismiss = (id: number) => set(toasts.filter((toast) => toast.id !== id));

export function toast(tone: Toast["tone"], text: string): void {
  const id = ++last;
  set([...toasts.slice(-3), { id, tone, text }]);
  if (tone === "ok") setTimeout(() => dismiss(id), 5000);
}

/** Runs what was asked for and tells what came of it. */
export async function tell(action: Promise<unknown>, done: string): Promise<void> {
  try {
    await action;
    toast("ok", done);
  } catch (error) {
    toast("bad", messageOf(error));
  }
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map(({ id, tone, text }) => (
        <div key={id} className={`note ${tone}`}>
          <span>{text}</span>
          <button
            type="button"
            className="button quiet icon"
            aria-label="Put away"
            onClick={() => dismiss(id)}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
