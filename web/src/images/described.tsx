import type { ReactNode } from "react";
import { size } from "../../ui/basics.tsx";
import type { Package } from "./picker.ts";

/** A package in a list. */
export const Described = ({ of, children }: { of: Package; children?: ReactNode }) => (
  <span className="described">
    <span>
      <strong>{of.name}</strong> <span className="muted">{of.version}</span>{" "}
      <span className="muted nowrap">{size(of.installedBytes)}</span>
    </span>
    <span className="muted">{children ?? of.description}</span>
  </span>
);
