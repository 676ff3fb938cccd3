/** A field of a form, with what is said of it and against it. */
import type { ReactNode } from "react";

export function Field({
  id,
  label,
  hint,
  wrong,
  children,
}: {
  id: string;
  label: string;
  hint?: string | undefined;
  wrong?: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children}
      {hint && <span className="hint">{hint}</span>}
      {wrong && <span className="bad small">{wrong}</span>}
    </div>
  );
}
