/**
 * The map on its canvas: draws what is in sight, and moves it under the pointer. No React in here: a frame has 16 ms, also for 2,500 hosts with
 * 40,000 machines. What saves the time: only what is in sight is drawn; pieces of one colour in one path; and from far away no text.
 *
 * A machine that is found on another host than before flies there; while its migration runs, a line shows where to.
 */
import { HEAD, type MapLayout, type Rect, TILE, type Tile } from "./layout.ts";

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
  dim: boolean;
}

export interface PieceLook {
  color: string;
  label: string;
  dim: boolean;
  /** Something is being done with it. */
  busy: boolean;
}

export interface Move {
  key: string;
  from: string;
  to: string;
}

export interface Scene {
  layout: MapLayout;
  tiles: ReadonlyMap<string, TileLook>;
  pieces: ReadonlyMap<string, PieceLook>;
  moves: readonly Move[];
  look: Look;
}

export interface Hit {
  host?: string;
  machine?: string;
}

const FLIGHT_MS = 900;
const MIN_ZOOM = 0.03;
const MAX_ZOOM = 3;

const ease = (t: number) => (t < 0.5 ? 4 * t ** 3 : 1 - (-2 * t + 2) ** 3 / 2);
const inside = (r: Rect, x: number, y: number) => x >= r.x && y >= r.y && x < r.x + r.w && y < r.y + r.h;

export class MapView {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #scene: Scene | undefined;
  #zoom = 1;
  #x = 0;
  #y = 0;
  #fitted = true;
  #asked = 0;
  #selected: string | undefined;
  #hovered: Hit = {};
  #tileOf = new Map<string, Tile>();
  /** Pieces of each tile, to find what is under the pointer. */
  #inTile = new Map<string, string[]>();
  readonly #flights = new Map<string, { from: Rect; began: number }>();
  readonly #pointers = new Map<number, { x: number; y: number }>();
  #dragged = false;
  readonly #stop = new AbortController();
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  onHover: (hit: Hit, x: number, y: number) => void = () => {};
  onOpen: (hit: Hit) => void = () => {};
  #frames = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    const context = canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("this browser draws no canvas");
    this.#context = context;
    const { signal } = this.#stop;
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.#move(event), { signal });
    for (const name of ["pointerup", "pointercancel"] as const)
      canvas.addEventListener(name, (event) => this.#up(event), { signal });
    canvas.addEventListener("pointerleave", () => this.#hover({}, 0, 0), { signal });
    const observer = new ResizeObserver(() => {
      if (this.#fitted) this.fit();
      else this.#ask();
    });
    observer.observe(canvas);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  close(): void {
    this.#stop.abort();
    cancelAnimationFrame(this.#asked);
  }

  show(scene: Scene): void {
    const before = this.#scene?.layout.pieces;
    const isNew = !before;
    const now = performance.now();
    if (before && !this.#calm.matches)
      for (const [key, rect] of scene.layout.pieces) {
        const was = before.get(key);
        if (!was || was.host === rect.host) continue;
        this.#flights.set(key, { from: this.#at(key, was, now), began: now });
      }
    this.#scene = scene;
    this.#tileOf = new Map(scene.layout.tiles.map((tile) => [tile.host, tile]));
    this.#inTile = new Map();
    for (const [key, rect] of scene.layout.pieces) {
      const list = this.#inTile.get(rect.host);
      if (list) list.push(key);
      else this.#inTile.set(rect.host, [key]);
    }
    if (isNew || this.#fitted) this.fit();
    else this.#ask();
  }

  select(host: string | undefined): void {
    this.#selected = host;
    const tile = host === undefined ? undefined : this.#tileOf.get(host);
    if (tile) this.#reveal(tile);
    this.#ask();
  }

  /** All of it in sight. */
  fit(): void {
    const { layout } = this.#scene ?? {};
    if (!layout) return;
    const [w, h] = this.#size();
    this.#zoom = Math.max(MIN_ZOOM, Math.min(1.5, (w - 24) / layout.width, (h - 24) / layout.height));
    this.#x = (w - layout.width * this.#zoom) / 2;
    this.#y = Math.min(12, (h - layout.height * this.#zoom) / 2) || 12;
    if (layout.height * this.#zoom < h) this.#y = 12;
    this.#fitted = true;
    this.#ask();
  }

  zoomBy(factor: number, x = this.#size()[0] / 2, y = this.#size()[1] / 2): void {
    const zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, this.#zoom * factor));
    this.#x = x - ((x - this.#x) * zoom) / this.#zoom;
    this.#y = y - ((y - this.#y) * zoom) / this.#zoom;
    this.#zoom = zoom;
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

  /** Where a host's tile is on the screen, from the canvas' corner. */
  placeOf(host: string): Rect | undefined {
    const tile = this.#tileOf.get(host);
    return tile && this.#onScreen(tile);
  }

  #reveal(tile: Tile): void {
    const [w, h] = this.#size();
    const at = this.#onScreen(tile);
    if (at.x >= 0 && at.y >= 0 && at.x + at.w <= w && at.y + at.h <= h) return;
    this.#x += w / 2 - (at.x + at.w / 2);
    this.#y += h / 2 - (at.y + at.h / 2);
    this.#fitted = false;
  }

  #onScreen = (r: Rect): Rect => ({
    x: r.x * this.#zoom + this.#x,
    y: r.y * this.#zoom + this.#y,
    w: r.w * this.#zoom,
    h: r.h * this.#zoom,
  });

  #size(): [number, number] {
    return [this.#canvas.clientWidth, this.#canvas.clientHeight];
  }

  /** Where a piece is now: in its tile, or on its way. */
  #at(key: string, rect: Rect, now: number): Rect {
    const flight = this.#flights.get(key);
    if (!flight) return rect;
    const t = (now - flight.began) / FLIGHT_MS;
    if (t >= 1) {
      this.#flights.delete(key);
      return rect;
    }
    const e = ease(t);
    const mix = (a: number, b: number) => a + (b - a) * e;
    const { from } = flight;
    return { x: mix(from.x, rect.x), y: mix(from.y, rect.y), w: mix(from.w, rect.w), h: mix(from.h, rect.h) };
  }

  #ask(): void {
    if (this.#asked) return;
    this.#asked = requestAnimationFrame((now) => {
      this.#asked = 0;
      const began = performance.now();
      this.#draw(now);
      // For measurements.
      this.#canvas.dataset.frameMs = String(performance.now() - began);
      if (this.#scene) this.#canvas.dataset.frames = String(++this.#frames);
      const isMoving =
        this.#flights.size > 0 || (!this.#calm.matches && (this.#scene?.moves.length ?? 0) > 0);
      if (isMoving) this.#ask();
    });
  }

  #draw(now: number): void {
    const scene = this.#scene;
    const [width, height] = this.#size();
    if (!scene || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    if (
      this.#canvas.width !== Math.round(width * ratio) ||
      this.#canvas.height !== Math.round(height * ratio)
    ) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const c = this.#context;
    const { look, layout } = scene;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = look.ground;
    c.fillRect(0, 0, width, height);
    c.setTransform(ratio * this.#zoom, 0, 0, ratio * this.#zoom, ratio * this.#x, ratio * this.#y);
    const sight = {
      x: -this.#x / this.#zoom,
      y: -this.#y / this.#zoom,
      w: width / this.#zoom,
      h: height / this.#zoom,
    };
    const seen = (r: Rect) =>
      r.x < sight.x + sight.w && r.y < sight.y + sight.h && r.x + r.w > sight.x && r.y + r.h > sight.y;
    const far = this.#zoom < 0.34;
    c.textBaseline = "middle";
    for (const group of layout.groups) {
      if (!seen(group)) continue;
      if (group.level === "site") this.#box(group, look.ground, look.lineStrong, 10);
      else this.#box(group, look.ground, look.line, 8);
      // From far away names are drawn as large as can be read, where there is room for them.
      const size = Math.max(12, Math.min(group.level === "site" ? 60 : 30, 11 / this.#zoom));
      if (size > 24 && group.level === "rack") continue;
      c.font = `${group.level === "site" ? 600 : 500} ${size}px ${look.font}`;
      c.fillStyle = group.level === "site" ? look.text : look.muted;
      if (size <= 24) c.fillText(this.#cut(group.name, group.w - 24), group.x + 11, group.y + 15);
    }
    const colours = new Map<string, Rect[]>();
    const dim = new Map<string, Rect[]>();
    const labels: [Rect, string][] = [];
    const flying: [Rect, string][] = [];
    for (const tile of layout.tiles) {
      if (!seen(tile)) continue;
      this.#tile(tile, scene, far);
      for (const key of this.#inTile.get(tile.host) ?? []) {
        const [rect, piece] = [layout.pieces.get(key), scene.pieces.get(key)];
        if (!rect || !piece || this.#flights.has(key)) continue;
        const into = piece.dim ? dim : colours;
        const list = into.get(piece.color);
        if (list) list.push(rect);
        else into.set(piece.color, [rect]);
        if (!far && !piece.dim && rect.w * this.#zoom > 34 && rect.h * this.#zoom > 15)
          labels.push([rect, piece.label]);
      }
    }
    const gap = far ? 0.5 : 1;
    for (const [map, alpha] of [
      [dim, 0.16],
      [colours, 1],
    ] as const) {
      c.globalAlpha = alpha;
      for (const [color, rects] of map) {
        c.fillStyle = color;
        c.beginPath();
        for (const { x, y, w, h } of rects) c.rect(x, y, Math.max(0.8, w - gap), Math.max(0.8, h - gap));
        c.fill();
      }
    }
    c.globalAlpha = 1;
    c.font = `500 11px ${look.font}`;
    c.fillStyle = look.surface;
    for (const [rect, label] of labels)
      c.fillText(this.#cut(label, rect.w - 8), rect.x + 4, rect.y + Math.min(rect.h / 2, 11));
    if (!far) for (const tile of layout.tiles) if (seen(tile)) this.#names(tile, scene);
    for (const move of scene.moves) this.#arrow(move, now);
    for (const key of [...this.#flights.keys()]) {
      const [rect, piece] = [layout.pieces.get(key), scene.pieces.get(key)];
      if (rect && piece) flying.push([this.#at(key, rect, now), piece.color]);
    }
    for (const [rect, color] of flying) {
      c.shadowColor = "rgb(0 0 0 / 40%)";
      c.shadowBlur = 14;
      c.fillStyle = color;
      c.fillRect(rect.x, rect.y, rect.w, rect.h);
      c.shadowBlur = 0;
    }
    const { machine } = this.#hovered;
    const under = machine === undefined ? undefined : layout.pieces.get(machine);
    if (under) {
      c.strokeStyle = look.text;
      c.lineWidth = 2 / this.#zoom;
      c.strokeRect(under.x - 0.5, under.y - 0.5, under.w, under.h);
    }
  }

  #tile(tile: Tile, { tiles, look }: Scene, far: boolean): void {
    const c = this.#context;
    const info = tiles.get(tile.host);
    if (!info) return;
    c.globalAlpha = info.dim ? 0.45 : 1;
    const isChosen = tile.host === this.#selected || tile.host === this.#hovered.host;
    this.#box(tile, look.surface, isChosen ? look.accent : look.line, 7, isChosen ? 2 : 1);
    const [x, right] = [tile.x + 9, tile.x + tile.w - 9];
    if (far) {
      c.fillStyle = info.stateColor;
      c.fillRect(tile.x + 8, tile.y + 8, 40, 8);
      this.#bar(tile.x + 8, tile.y + 24, tile.w - 16, 8, info.cpu, look);
      this.#bar(tile.x + 8, tile.y + 38, tile.w - 16, 8, info.memory, look);
    } else {
      c.fillStyle = info.stateColor;
      c.beginPath();
      c.arc(x + 3, tile.y + 14, 3.5, 0, 7);
      c.fill();
      c.font = `600 12px ${look.font}`;
      c.fillStyle = look.text;
      c.fillText(this.#cut(info.title, tile.w - 90), x + 13, tile.y + 14.5);
      c.font = `400 11px ${look.font}`;
      c.fillStyle = look.muted;
      c.textAlign = "right";
      c.fillText(info.state === "Ready" ? info.watts : info.state, right, tile.y + 14.5);
      c.textAlign = "left";
      c.font = `400 10px ${look.font}`;
      for (const [label, value, y] of [
        ["CPU", info.cpu, tile.y + 30],
        ["Mem", info.memory, tile.y + 42],
      ] as const) {
        c.fillStyle = look.muted;
        c.fillText(label, x, y);
        this.#bar(x + 28, y - 2.5, tile.w - 46 - 30, 5, value, look);
        c.textAlign = "right";
        c.fillStyle = look.muted;
        c.fillText(`${Math.round(value * 100)} %`, right, y);
        c.textAlign = "left";
      }
    }
    c.fillStyle = look.track;
    c.globalAlpha *= 0.5;
    c.fillRect(tile.x + 8, tile.y + HEAD, TILE.w - 16, TILE.h - HEAD - 8);
    c.globalAlpha = 1;
  }

  /** Beside pieces that are too narrow for their names, where there is room. */
  #names(tile: Tile, { layout, pieces, look }: Scene): void {
    const c = this.#context;
    const keys = this.#inTile.get(tile.host) ?? [];
    if (keys.length === 0 || keys.length > 5) return;
    const rects = keys.flatMap((key) => layout.pieces.get(key) ?? []);
    const end = Math.max(...rects.map(({ x, w }) => x + w));
    const room = tile.x + tile.w - 12 - end;
    if (room < 50 || rects.some(({ w }) => w * this.#zoom > 34)) return;
    c.font = `400 11px ${look.font}`;
    for (const [i, key] of keys.entries()) {
      const piece = pieces.get(key);
      if (!piece) continue;
      const y = tile.y + HEAD + 9 + i * 14;
      c.globalAlpha = piece.dim ? 0.4 : 1;
      c.fillStyle = piece.color;
      c.fillRect(end + 6, y - 3, 6, 6);
      c.fillStyle = look.text;
      c.fillText(this.#cut(piece.label, room - 16), end + 16, y);
    }
    c.globalAlpha = 1;
  }

  #bar(x: number, y: number, w: number, h: number, value: number, look: Look): void {
    const c = this.#context;
    c.fillStyle = look.track;
    c.fillRect(x, y, w, h);
    c.fillStyle = value > 0.9 ? look.warn : look.accent;
    c.fillRect(x, y, w * Math.max(0, Math.min(1, value)), h);
  }

  #box({ x, y, w, h }: Rect, fill: string, line: string, radius: number, width = 1): void {
    const c = this.#context;
    c.beginPath();
    c.roundRect(x, y, w, h, radius);
    c.fillStyle = fill;
    c.fill();
    c.strokeStyle = line;
    c.lineWidth = width / Math.min(1, this.#zoom * 1.4);
    c.stroke();
  }

  #arrow({ key, from, to }: Move, now: number): void {
    const [scene, c] = [this.#scene, this.#context];
    const [a, b] = [this.#tileOf.get(from), this.#tileOf.get(to)];
    if (!scene || !a || !b) return;
    const piece = scene.layout.pieces.get(key);
    const [x1, y1] = piece
      ? [piece.x + piece.w / 2, piece.y + piece.h / 2]
      : [a.x + a.w / 2, a.y + HEAD + (a.h - HEAD) / 2];
    const [x2, y2] = [b.x + b.w / 2, b.y + HEAD + (b.h - HEAD) / 2];
    const bend = Math.min(60, Math.hypot(x2 - x1, y2 - y1) / 4);
    const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2 - bend];
    c.strokeStyle = scene.look.text;
    c.lineWidth = 1.5 / Math.min(1, this.#zoom);
    c.setLineDash([5, 5]);
    c.lineDashOffset = this.#calm.matches ? 0 : -now / 30;
    c.beginPath();
    c.moveTo(x1, y1);
    c.quadraticCurveTo(mx, my, x2, y2);
    c.stroke();
    c.setLineDash([]);
    const t = this.#calm.matches ? 1 : (now / 1400) % 1;
    const at = (p0: number, p1: number, p2: number) => (1 - t) ** 2 * p0 + 2 * (1 - t) * t * p1 + t ** 2 * p2;
    c.fillStyle = scene.pieces.get(key)?.color ?? scene.look.accent;
    c.beginPath();
    c.arc(at(x1, mx, x2), at(y1, my, y2), 5, 0, 7);
    c.fill();
  }

  #cut(text: string, width: number): string {
    const c = this.#context;
    if (c.measureText(text).width <= width) return text;
    let end = text.length;
    while (end > 1 && c.measureText(`${text.slice(0, end)}…`).width > width) end--;
    return end > 1 ? `${text.slice(0, end)}…` : "";
  }

  #hitAt(x: number, y: number): Hit {
    const { layout } = this.#scene ?? {};
    const [mx, my] = [(x - this.#x) / this.#zoom, (y - this.#y) / this.#zoom];
    const tile = layout?.tiles.find((each) => inside(each, mx, my));
    if (!tile || !layout) return {};
    const machine = (this.#inTile.get(tile.host) ?? []).find((key) => {
      const rect = layout.pieces.get(key);
      return rect && inside(rect, mx, my);
    });
    return { host: tile.host, ...(machine === undefined ? {} : { machine }) };
  }

  #hover(hit: Hit, x: number, y: number): void {
    const isSame = hit.host === this.#hovered.host && hit.machine === this.#hovered.machine;
    this.#hovered = hit;
    this.onHover(hit, x, y);
    this.#canvas.style.cursor = hit.host ? "pointer" : "grab";
    if (!isSame) this.#ask();
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }

  #down(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#dragged = false;
  }

  #move(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    if (!before) {
      this.#hover(this.#hitAt(x, y), x, y);
      return;
    }
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    const [, other] = others[0] ?? [];
    if (Math.hypot(x - before.x, y - before.y) > 3) this.#dragged = true;
    if (other) {
      const [was, is] = [
        Math.hypot(before.x - other.x, before.y - other.y),
        Math.hypot(x - other.x, y - other.y),
      ];
      if (was > 0) this.zoomBy(is / was, (x + other.x) / 2, (y + other.y) / 2);
    } else if (this.#dragged) {
      this.#x += x - before.x;
      this.#y += y - before.y;
      this.#fitted = false;
      this.#ask();
    } else return;
    this.#pointers.set(event.pointerId, { x, y });
  }

  #up(event: PointerEvent): void {
    const was = this.#pointers.delete(event.pointerId);
    if (was && !this.#dragged && event.type === "pointerup")
      this.onOpen(this.#hitAt(event.offsetX, event.offsetY));
  }
}
