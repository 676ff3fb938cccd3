/** What the map shows: where everything is (layout.ts) and how it looks. No React and no canvas in here. */
import type { MapLayout } from "./layout.ts";

export interface Look {
  ground: string;
  surface: string;
  line: string;
  lineStrong: string;
  text: string;
  muted: string;
  accent: string;
  warn: string;
  track: string;
  font: string;
}

export interface TileLook {
  title: string;
  state: string;
  stateColor: string;
  /** Shares of CPUs and memory given out, 0 to 1. */
  cpu: number;
  memory: number;
  watts: string;
  /** What its machines read, write, send and receive, in words. */
  traffic: string;
  dim: boolean;
}

/** A machine; the same object from scene to scene as long as it looks the same. */
export interface PieceLook {
  key: string;
  memoryBytes: number;
  color: string;
  label: string;
  dim: boolean;
}

/** A migration that runs. */
export interface Move {
  key: string;
  from: string;
  to: string;
}

export interface Scene {
  layout: MapLayout;
  tiles: ReadonlyMap<string, TileLook>;
  pieces: ReadonlyMap<string, PieceLook>;
  /** What is known of a site besides its name. */
  sites: ReadonlyMap<string, string>;
  look: Look;
}

/** Where the map is on the screen: a point of it is at `zoom` times its place, plus x and y. */
export interface Camera {
  zoom: number;
  x: number;
  y: number;
}
