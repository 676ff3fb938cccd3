/** The map on a canvas that only writes down what is drawn, with a clock that goes on by frames and by what is painted. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { layOut, type Rect } from "./layout.ts";
import type { Scene } from "./scene.ts";
import { MapView } from "./view.ts";

interface Fill extends Rect {
  color: string;
}
/** Transforms are left out, so that all is in map units. */
class Drawing {
  readonly canvas: { width: number; height: number };
  fillStyle = "";
  /** Since the whole of it was filled last. */
  fills: Fill[] = [];
  images: [image: object, ...at: number[]][] = [];
  curves = 0;
  flushed = 0;

  constructor(canvas: Drawing["canvas"]) {
    this.canvas = canvas;
  }
  fillRect(x: number, y: number, w: number, h: number): void {
    if (x === 0 && y === 0 && w >= size.w) this.fills = [];
    else this.fills.push({ color: this.fillStyle, x, y, w, h });
  }
  drawImage(image: FakeCanvas, ...at: number[]): void {
    this.images.push([image, ...at]);
    this.fills.push(...image.drawing.fills);
  }
  quadraticCurveTo(): void {
    this.curves++;
  }
  getImageData(): void {
    this.flushed++;
    now += partMs;
  }
  measureText(text: string) {
    return { width: 6 * text.length };
  }
  setTransform(): void {}
  beginPath(): void {}
  roundRect(): void {}
  fill(): void {}
  stroke(): void {}
  strokeRect(): void {}
  fillText(): void {}
  arc(): void {}
  moveTo(): void {}
}
class FakeCanvas {
  width: number;
  height: number;
  readonly drawing = new Drawing(this);
  readonly dataset = {};
  readonly style = {};
  constructor(width: number, height: number) {
    [this.width, this.height] = [width, height];
    canvases.push(this);
  }
  get clientWidth() {
    return size.w;
  }
  get clientHeight() {
    return size.h;
  }
  getContext() {
    return this.drawing;
  }
}

const size = { w: 900, h: 600 };
const page = { devicePixelRatio: 1 };
let [now, partMs] = [0, 0];
let canvases: FakeCanvas[] = [];
let asked: ((now: number) => void) | undefined;
let calm = false;

beforeEach(() => {
  [now, partMs, canvases, asked, calm, page.devicePixelRatio] = [1000, 0, [], undefined, false, 1];
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.spyOn(performance, "now").mockImplementation(() => now);
  vi.stubGlobal("window", page);
  vi.stubGlobal("OffscreenCanvas", FakeCanvas);
  vi.stubGlobal("matchMedia", () => ({ matches: calm }));
  vi.stubGlobal("requestAnimationFrame", (frame: typeof asked) => {
    asked = frame;
    return 1;
  });
  vi.stubGlobal("cancelAnimationFrame", () => {
    asked = undefined;
  });
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe() {}
      disconnect() {}
    },
  );
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** @returns whether there was one to draw */
function frame(): boolean {
  const draw = asked;
  asked = undefined;
  now += 16;
  draw?.(now);
  return draw !== undefined;
}
const frames = (most = 500): number => {
  let drawn = 0;
  while (drawn < most && frame()) drawn++;
  return drawn;
};

const HOSTS = 48;
const GiB = 2 ** 30;
/** One machine on each host, and one, the red one, on a host of choice. */
function sceneOf(red: string, before?: Scene): Scene {
  const names = Array.from({ length: HOSTS }, (_, i) => `h${i}`);
  const machineOf = (name: string) =>
    before?.pieces.get(name) ?? { key: name, memoryBytes: 32 * GiB, color: name, label: name, dim: false };
  const hosts = names.map((name) => ({
    ...{ name, site: "", rack: "", memoryBytes: 64 * GiB },
    machines: [machineOf(`on-${name}`), ...(name === red ? [machineOf("red")] : [])],
  }));
  return {
    layout: layOut(hosts, 1.5, before?.layout),
    pieces: new Map(hosts.flatMap(({ machines }) => machines.map((machine) => [machine.key, machine]))),
    tiles: new Map(
      names.map((title) => [
        title,
        {
          title,
          state: "Ready",
          stateColor: "green",
          cpu: 0.5,
          memory: 0.5,
          watts: "",
          traffic: "",
          dim: false,
        },
      ]),
    ),
    sites: new Map(),
    look: new Proxy({} as Scene["look"], { get: (_, name) => `the ${String(name)}` }),
  };
}

function shown(scene: Scene) {
  const canvas = new FakeCanvas(0, 0);
  const view = new MapView(canvas as unknown as HTMLCanvasElement);
  view.show(scene);
  frames();
  return { view, drawing: canvas.drawing };
}
const holds = (r: Rect, x: number, y: number) => x >= r.x && y >= r.y && x <= r.x + r.w && y <= r.y + r.h;
/** The middles of what is to be seen of a colour: nothing of another one was drawn over them. */
const seen = ({ fills }: Drawing, color: string): [number, number][] =>
  fills.flatMap((each, i) => {
    const [x, y] = [each.x + each.w / 2, each.y + each.h / 2];
    const isHidden = fills.slice(i + 1).some((later) => later.color !== color && holds(later, x, y));
    return each.color === color && !isHidden ? [[x, y] as [number, number]] : [];
  });
const hostAt = ({ layout }: Scene, [x, y]: [number, number]) =>
  layout.tiles.find((tile) => holds(tile, x, y))?.host;

describe("a machine on another host than before", () => {
  it.each([0, 6])("is drawn once in each frame, and flies there; each part of a sheet takes %d ms", (ms) => {
    const from = sceneOf("h1");
    const { view, drawing } = shown(from);
    expect(seen(drawing, "red").map((at) => hostAt(from, at))).toEqual(["h1"]);
    partMs = ms;
    const to = sceneOf("h40", from);
    view.show(to);
    const path: (string | undefined)[] = [];
    while (frame()) {
      const at = seen(drawing, "red");
      expect(at).toHaveLength(1);
      path.push(at[0] && hostAt(to, at[0]));
      // Another one stays where it is.
      expect(seen(drawing, "on-h3")).toHaveLength(1);
    }
    expect(path.at(0)).toBe("h1");
    expect(path.at(-1)).toBe("h40");
    expect(new Set(path).size).toBeGreaterThan(3);
    // The sheet has it in the end, nothing else.
    const [sheet] = drawing.images.at(-1) ?? [];
    expect(seen((sheet as FakeCanvas).drawing, "red").map((at) => hostAt(to, at))).toEqual(["h40"]);
    expect(drawing.fills.filter(({ color }) => color === "red")).toHaveLength(1);
  });

  it("goes on from where it is when it is moved again", () => {
    const scenes = [sceneOf("h1")];
    const { view, drawing } = shown(scenes[0] as Scene);
    partMs = 6;
    const places: [number, number][] = [];
    for (const host of ["h40", "h7"]) {
      const next = sceneOf(host, scenes.at(-1));
      scenes.push(next);
      view.show(next);
      for (let i = 0; i < 25; i++) {
        frame();
        const at = seen(drawing, "red");
        expect(at).toHaveLength(1);
        places.push(...at);
      }
    }
    for (const [i, [x, y]] of places.slice(1).entries()) {
      const [wasX, wasY] = places[i] ?? [0, 0];
      expect(Math.hypot(x - wasX, y - wasY)).toBeLessThan(250);
    }
    frames();
    expect(seen(drawing, "red").map((at) => hostAt(scenes[2] as Scene, at))).toEqual(["h7"]);
  });

  it("is there at once for who wants nothing to move", () => {
    calm = true;
    const from = sceneOf("h1");
    const { view, drawing } = shown(from);
    const to = sceneOf("h40", from);
    view.show(to);
    expect(frames()).toBe(1);
    expect(seen(drawing, "red").map((at) => hostAt(to, at))).toEqual(["h40"]);
  });
});

describe("the sheet", () => {
  it("is painted a part in each frame, while the one before is shown", () => {
    const from = sceneOf("h1");
    const { view, drawing } = shown(from);
    expect(canvases).toHaveLength(2);
    partMs = 6;
    view.zoomBy(1.1);
    let [drawn, before] = [0, now];
    while (frame()) {
      expect(now - before).toBeLessThanOrEqual(16 + 6);
      before = now;
      drawn++;
    }
    expect(drawn).toBeGreaterThan(5);
    expect(canvases[2]?.drawing.flushed).toBe(drawn);
    expect(drawing.images.at(-1)?.[0]).toBe(canvases[2]);
  });

  it("is painted on one of two canvases, of which the spare one is let go when nothing is painted for a while", () => {
    const { view, drawing } = shown(sceneOf("h1"));
    for (let i = 0; i < 6; i++) {
      view.dragBy(300, 0);
      frames();
      vi.advanceTimersByTime(1000);
    }
    expect(canvases).toHaveLength(3);
    vi.advanceTimersByTime(4000);
    const [onScreen, ...sheets] = canvases;
    expect(onScreen?.width).toBe(size.w);
    const kept = sheets.filter(({ width }) => width > 0);
    expect(kept).toEqual([drawing.images.at(-1)?.[0]]);
    expect(kept[0]?.width).toBe(1350);
  });

  it("changes its size with the display", () => {
    const { view } = shown(sceneOf("h1"));
    view.dragBy(300, 0);
    frames();
    page.devicePixelRatio = 2;
    view.dragBy(1, 0);
    frames();
    expect(canvases.map(({ width }) => width)).toEqual([1800, 2700, 1350]);
  });

  it.each([1.25, 1.5, 1.75])("is drawn in whole pixels of a display of ratio %d", (ratio) => {
    page.devicePixelRatio = ratio;
    const { view, drawing } = shown(sceneOf("h1"));
    view.dragBy(7, 3);
    frames();
    expect(drawing.images.length).toBeGreaterThan(1);
    for (const [, ...at] of drawing.images) expect(at).toEqual(at.map(Math.round));
    expect(drawing.images.at(-1)?.slice(3)).toEqual([canvases[1]?.width, canvases[1]?.height]);
  });

  it("stays while migrations run", () => {
    const { view, drawing } = shown(sceneOf("h1"));
    const { flushed } = canvases[1]?.drawing ?? { flushed: 0 };
    view.follow([{ key: "red", from: "h1", to: "h5" }]);
    expect(frames(20)).toBe(20);
    expect(drawing.curves).toBe(20);
    expect(canvases).toHaveLength(2);
    expect(canvases[1]?.drawing.flushed).toBe(flushed);
    view.follow([]);
    expect(frames()).toBeLessThan(3);
  });
});
