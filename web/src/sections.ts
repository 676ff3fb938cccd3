/** The pages of the navigation. */
import type { IconName } from "../ui/icons.tsx";

export interface Section {
  path: string;
  name: string;
  icon: IconName;
  /** After g, on the keyboard. */
  key: string;
}

export const SECTIONS: readonly Section[] = [
  { path: "/estate", name: "Estate", icon: "estate", key: "e" },
  { path: "/machines", name: "Machines", icon: "machines", key: "m" },
  { path: "/hosts", name: "Hosts", icon: "hosts", key: "h" },
  { path: "/director", name: "Director", icon: "director", key: "d" },
  { path: "/activity", name: "Activity", icon: "activity", key: "a" },
  { path: "/images", name: "Images", icon: "images", key: "i" },
];
