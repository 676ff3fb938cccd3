/**
 * The map on its canvas, moved by the pointer. A frame has 16 ms, also for 2,500 hosts with 40,000 machines, so what stands still is kept as a picture, the
 * sheet (sheet.ts): while the map is dragged or zoomed the sheet is, and a new one is painted beside. A small estate is ready in its first frame.
 *
 * A machine that is found on another host than before flies there; while its migration runs, a line shows where to. It is drawn over the sheet until a sheet
 * that has it where it has landed is shown.
 */
import { HEAD, type Rect, type Tile } from "./layout.ts";
import { box, clear } from "./paint.ts";
import type { Camera, Move, Scene } from "./scene.ts";
import { Sheets } from "./sheet.ts";

export interface Hit {
  host?: string;
  machine?: string;
}

interface Flight {
  from: Rect;
  began: number;
  /** The version of the first sheet that has it where it has landed. */
  landed?: number;
}

const FLIGHT_MS = 900;
const MIN_ZOOM = 0.03;
const MAX_ZOOM = 3;

const ease = (t: number) => (t < 0.5 ? 4 * t ** 3 : 1 - (-2 * t + 2) ** 3 / 2);
const inside = (r: Rect, x: number, y: number) => x >= r.x && y >= r.y && x < r.x + r.w && y < r.y + r.h;

export class MapView {
  readonly #context: CanvasRenderingContext2D;
  #scene: Scene | undefined;
  #moves: readonly Move[] = [];
  #camera: Camera = { zoom: 1, x: 0, y: 0 };
  #fitted = true;
  #asked = 0;
  #selected: string | undefined;
  #hovered: Hit = {};
  #tileOf = new Map<string, Tile>();
  readonly #flights = new Map<string, Flight>();
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #observer: ResizeObserver;
  /** Of what stands still. */
  #version = 0;
  readonly #sheets = new Sheets();

  readonly canvas: HTMLCanvasElement;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    const context = canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("this browser draws no canvas");
    this.#context = context;
    this.#observer = new ResizeObserver(() => {
      if (this.#fitted) this.fit();
      else this.#ask();
    });
    this.#observer.observe(canvas);
  }

  close(): void {
    this.#observer.disconnect();
    cancelAnimationFrame(this.#asked);
    this.#sheets.close();
  }

  show(scene: Scene): void {
    const before = this.#scene?.layout.pieces;
    const now = performance.now();
    if (before && !this.#calm.matches)
      for (const tile of scene.layout.tiles) {
        if (tile === this.#tileOf.get(tile.host)) continue;
        for (const { key } of tile.machines) {
          const was = before.get(key);
          if (!was || was.host === tile.host) continue;
          this.#flights.set(key, { from: this.#at(key, was, now), began: now });
        }
      }
    const isNew = !this.#scene;
    this.#scene = scene;
    this.#version++;
    this.#tileOf = new Map(scene.layout.tiles.map((tile) => [tile.host, tile]));
    if (isNew || this.#fitted) this.fit();
    else this.#ask();
  }

  /** Migrations that run now. */
  follow(moves: readonly Move[]): void {
    this.#moves = moves;
    this.#ask();
  }

  /** Marks a host, and brings it into sight. */
  select(host: string | undefined): void {
    this.#selected = host;
    const tile = host === undefined ? undefined : this.#tileOf.get(host);
    if (tile) this.#reveal(tile);
    this.#ask();
  }

  hover(hit: Hit): void {
    const isSame = hit.host === this.#hovered.host && hit.machine === this.#hovered.machine;
    this.#hovered = hit;
    this.canvas.style.cursor = hit.host ? "pointer" : "grab";
    if (!isSame) this.#ask();
  }

  /** All of it in sight. */
  fit(): void {
    const { layout } = this.#scene ?? {};
    if (!layout) return;
    const [w, h] = this.#size();
    const zoom = Math.max(MIN_ZOOM, Math.min(1.5, (w - 24) / layout.width, (h - 24) / layout.height));
    this.#camera = { zoom, x: (w - layout.width * zoom) / 2, y: 12 };
    this.#fitted = true;
    this.#ask();
  }

  zoomBy(factor: number, atX = this.#size()[0] / 2, atY = this.#size()[1] / 2): void {
    const { zoom: before, x, y } = this.#camera;
    const zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, before * factor));
    this.#camera = { zoom, x: atX - ((atX - x) * zoom) / before, y: atY - ((atY - y) * zoom) / before };
    this.#fitted = false;
    this.#ask();
  }

  dragBy(dx: number, dy: number): void {
    const { zoom, x, y } = this.#camera;
    this.#camera = { zoom, x: x + dx, y: y + dy };
    this.#fitted = false;
    this.#ask();
  }

  /** The host next to one, in the direction of an arrow key. */
  neighbour(host: string | undefined, dx: number, dy: number): string | undefined {
    const tiles = this.#scene?.layout.tiles ?? [];
    const from = host === undefined ? undefined : this.#tileOf.get(host);
    if (!from) return tiles[0]?.host;
    let [best, found] = [Number.POSITIVE_INFINITY, undefined as string | undefined];
    for (const tile of tiles) {
      const [ax, ay] = [tile.x - from.x, tile.y - from.y];
      const along = ax * dx + ay * dy;
      if (along <= 1) continue;
      const distance = along + 3 * Math.abs(ax * dy + ay * dx);
      if (distance < best) [best, found] = [distance, tile.host];
    }
    return found ?? host;
  }

  /** What is at a point of the canvas. */
  hitAt(x: number, y: number): Hit {
    const { layout } = this.#scene ?? {};
    const { zoom, x: left, y: top } = this.#camera;
    const [mx, my] = [(x - left) / zoom, (y - top) / zoom];
    const tile = layout?.tiles.find((each) => inside(each, mx, my));
    if (!tile || !layout) return {};
    const machine = tile.machines.find(({ key }) => {
      const rect = layout.pieces.get(key);
      return rect && inside(rect, mx, my);
    });
    return { host: tile.host, ...(machine ? { machine: machine.key } : {}) };
  }

  #reveal(tile: Tile): void {
    const [w, h] = this.#size();
    const { zoom, x, y } = this.#camera;
    const at = { x: tile.x * zoom + x, y: tile.y * zoom + y, w: tile.w * zoom, h: tile.h * zoom };
    if (at.x >= 0 && at.y >= 0 && at.x + at.w <= w && at.y + at.h <= h) return;
    this.dragBy(w / 2 - (at.x + at.w / 2), h / 2 - (at.y + at.h / 2));
  }

  #size(): [number, number] {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  /** Where a piece is now: in its tile, or on its way. */
  #at(key: string, rect: Rect, now: number): Rect {
    const flight = this.#flights.get(key);
    if (!flight) return rect;
    const e = ease(Math.min(1, (now - flight.began) / FLIGHT_MS));
    const mix = (a: number, b: number) => a + (b - a) * e;
    const { from } = flight;
    return { x: mix(from.x, rect.x), y: mix(from.y, rect.y), w: mix(from.w, rect.w), h: mix(from.h, rect.h) };
  }

  #ask(): void {
    if (this.#asked) return;
    this.#asked = requestAnimationFrame((now) => {
      this.#asked = 0;
      const began = performance.now();
      const isOver = this.#frame(now);
      // For measurements.
      this.canvas.dataset.frameMs = String(performance.now() - began);
      if (!isOver) this.#ask();
    });
  }

  /** @returns whether nothing more is to be drawn until something changes */
  #frame(now: number): boolean {
    const scene = this.#scene;
    const [w, h] = this.#size();
    if (!scene || w === 0 || h === 0) return true;
    const left = new Set<string>();
    for (const [key, flight] of this.#flights) {
      if (flight.landed === undefined && now - flight.began >= FLIGHT_MS) flight.landed = ++this.#version;
      if (flight.landed === undefined) left.add(key);
    }
    const [ratio, camera, version] = [window.devicePixelRatio || 1, this.#camera, this.#version];
    const isCurrent = this.#sheets.paintSome({ scene, camera, w, h, ratio, version, left });
    const shown = this.#sheets.shown?.version ?? 0;
    for (const [key, { landed }] of this.#flights)
      if (landed !== undefined && landed <= shown) this.#flights.delete(key);
    const [width, height] = [Math.round(w * ratio), Math.round(h * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height)
      [this.canvas.width, this.canvas.height] = [width, height];
    const c = this.#context;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.fillStyle = scene.look.ground;
    c.fillRect(0, 0, width, height);
    this.#drawSheet(ratio);
    const { zoom, x, y } = camera;
    c.setTransform(ratio * zoom, 0, 0, ratio * zoom, ratio * x, ratio * y);
    this.#drawMoving(scene, now);
    const moves = !this.#calm.matches && this.#moves.length > 0;
    return isCurrent && !moves && this.#flights.size === 0;
  }

  #drawSheet(ratio: number): void {
    const sheet = this.#sheets.shown;
    if (!sheet) return;
    const { zoom, x, y } = this.#camera;
    const { canvas } = sheet.context;
    const grown = zoom / sheet.camera.zoom;
    const scale = (grown * ratio) / sheet.ratio;
    const isAsPainted = Math.abs(scale - 1) < 1e-6;
    let [left, top] = [(x - sheet.camera.x * grown) * ratio, (y - sheet.camera.y * grown) * ratio];
    // The pointer may drag it by parts of the display's pixels.
    if (isAsPainted) [left, top] = [Math.round(left), Math.round(top)];
    this.#context.imageSmoothingEnabled = !isAsPainted;
    this.#context.drawImage(canvas, left, top, canvas.width * scale, canvas.height * scale);
    this.canvas.dataset.drawn = "";
  }

  /** What moves, and what is marked. */
  #drawMoving(scene: Scene, now: number): void {
    const c = this.#context;
    const { layout, look } = scene;
    const { zoom } = this.#camera;
    for (const host of new Set([this.#selected, this.#hovered.host])) {
      const tile = host === undefined ? undefined : this.#tileOf.get(host);
      if (tile) box(c, tile, { line: look.accent, radius: 7, width: 2 / Math.min(1, zoom * 1.4) });
    }
    for (const move of this.#moves) this.#arrow(scene, move, now);
    const sheet = this.#sheets.shown;
    for (const key of this.#flights.keys()) {
      // A sheet from before shows it where it was.
      const was = sheet?.left.has(key) ? undefined : sheet?.scene.layout.pieces.get(key);
      if (was) clear(c, was, sheet?.scene.tiles.get(was.host)?.dim ?? false, look);
    }
    for (const key of this.#flights.keys()) {
      const [rect, piece] = [layout.pieces.get(key), scene.pieces.get(key)];
      if (!rect || !piece) continue;
      const { x, y, w, h } = this.#at(key, rect, now);
      c.shadowColor = "rgb(0 0 0 / 40%)";
      c.shadowBlur = 14;
      c.fillStyle = piece.color;
      c.fillRect(x, y, w, h);
      c.shadowBlur = 0;
    }
    const { machine } = this.#hovered;
    const under = machine === undefined ? undefined : layout.pieces.get(machine);
    if (!under) return;
    c.strokeStyle = look.text;
    c.lineWidth = 2 / zoom;
    c.strokeRect(under.x - 0.5, under.y - 0.5, under.w, under.h);
  }

  #arrow({ layout, look, pieces }: Scene, { key, from, to }: Move, now: number): void {
    const c = this.#context;
    const [a, b] = [this.#tileOf.get(from), this.#tileOf.get(to)];
    if (!a || !b) return;
    const middle = ({ x, y, w, h }: Rect) => [x + w / 2, y + h / 2] as const;
    const body = ({ x, y, w, h }: Tile) => ({ x, y: y + HEAD, w, h: h - HEAD });
    const [x1, y1] = middle(layout.pieces.get(key) ?? body(a));
    const [x2, y2] = middle(body(b));
    const bend = Math.min(60, Math.hypot(x2 - x1, y2 - y1) / 4);
    const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2 - bend];
    c.strokeStyle = look.text;
    c.lineWidth = 1.5 / Math.min(1, this.#camera.zoom);
    // Not dashed: a line across a large estate has thousands of dashes, which take longer than a frame has.
    c.beginPath();
    c.moveTo(x1, y1);
    c.quadraticCurveTo(mx, my, x2, y2);
    c.stroke();
    const t = this.#calm.matches ? 1 : (now / 1400) % 1;
    const at = (p0: number, p1: number, p2: number) => (1 - t) ** 2 * p0 + 2 * (1 - t) * t * p1 + t ** 2 * p2;
    c.fillStyle = pieces.get(key)?.color ?? look.accent;
    c.beginPath();
    c.arc(at(x1, mx, x2), at(y1, my, y2), 5, 0, 7);
    c.fill();
  }
}
