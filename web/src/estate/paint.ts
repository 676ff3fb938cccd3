/**
 * Draws the part of the map that stands still onto a canvas, a few tiles at a time: all 2,500 hosts with their 40,000 machines take longer than a
 * frame has. What saves time besides: only what is in sight is drawn, and from far away no text.
 */
import { HEAD, type Rect, TILE, type Tile } from "./layout.ts";
import type { Camera, Look, Scene } from "./scene.ts";

export type Canvas = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** Tiles between two looks at the clock. */
const AT_ONCE = 6;
/** Below, there is no text in a tile, and below the other one no edges either. */
const FAR = 0.34;
const VERY_FAR = 0.16;
/** How much is seen of a tile of which nothing meets the filter, and of the ground below machines. */
const DIM = 0.45;
const TRACK = 0.5;

export function box(
  c: Canvas,
  { x, y, w, h }: Rect,
  { fill, line, radius, width }: { fill?: string; line: string; radius: number; width: number },
): void {
  c.beginPath();
  c.roundRect(x, y, w, h, radius);
  if (fill !== undefined) {
    c.fillStyle = fill;
    c.fill();
  }
  c.strokeStyle = line;
  c.lineWidth = width;
  c.stroke();
}

/** As much of the text as is not wider. */
function cut(c: Canvas, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (c.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 0 ? `${text.slice(0, low)}…` : "";
}

/**
 * @param size of what is drawn on, in CSS pixels @param left machines that are left out: they are on their way
 * @returns what is to be run to its end; it rests between tiles
 */
export function* paint(
  c: Canvas,
  scene: Scene,
  camera: Camera,
  size: { w: number; h: number; ratio: number },
  left: ReadonlySet<string>,
): Generator<void, void> {
  const { layout, look, sites } = scene;
  const { zoom } = camera;
  c.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  c.globalAlpha = 1;
  c.textBaseline = "middle";
  c.textAlign = "left";
  c.fillStyle = look.ground;
  c.fillRect(0, 0, size.w, size.h);
  c.setTransform(size.ratio * zoom, 0, 0, size.ratio * zoom, size.ratio * camera.x, size.ratio * camera.y);
  const sight = { x: -camera.x / zoom, y: -camera.y / zoom, w: size.w / zoom, h: size.h / zoom };
  const seen = (r: Rect) =>
    r.x < sight.x + sight.w && r.y < sight.y + sight.h && r.x + r.w > sight.x && r.y + r.h > sight.y;
  const thick = 1 / Math.min(1, zoom * 1.4);
  for (const group of layout.groups) {
    if (!seen(group)) continue;
    const isSite = group.level === "site";
    box(c, group, {
      fill: look.ground,
      line: isSite ? look.lineStrong : look.line,
      radius: isSite ? 10 : 8,
      width: thick,
    });
    // From far away names are drawn larger, as long as the line above the hosts has room for them.
    const height = Math.max(12, Math.min(24, 11 / zoom));
    if (11 / zoom > (isSite ? 60 : 24)) continue;
    c.font = `${isSite ? 600 : 500} ${height}px ${look.font}`;
    c.fillStyle = isSite ? look.text : look.muted;
    const name = cut(c, group.name, group.w - 24);
    c.fillText(name, group.x + 11, group.y + 15);
    const more = isSite ? sites.get(group.name) : undefined;
    if (!more || name !== group.name) continue;
    const from = 22 + c.measureText(name).width;
    c.font = `400 ${height}px ${look.font}`;
    c.fillStyle = look.muted;
    c.fillText(cut(c, more, group.w - from - 12), group.x + from, group.y + 15);
  }
  yield;
  let drawn = 0;
  for (const tile of layout.tiles) {
    if (!seen(tile)) continue;
    paintTile(c, tile, scene, zoom, thick);
    paintPieces(c, tile, scene, zoom, left);
    if (++drawn % AT_ONCE === 0) yield;
  }
}

function paintTile(c: Canvas, tile: Tile, { tiles, look }: Scene, zoom: number, thick: number): void {
  const info = tiles.get(tile.host);
  if (!info) return;
  c.globalAlpha = info.dim ? DIM : 1;
  const [x, right] = [tile.x + 9, tile.x + tile.w - 9];
  if (zoom < VERY_FAR) {
    c.fillStyle = look.surface;
    c.fillRect(tile.x, tile.y, tile.w, tile.h);
  } else box(c, tile, { fill: look.surface, line: look.line, radius: 7, width: thick });
  if (zoom < FAR) {
    c.fillStyle = info.stateColor;
    c.fillRect(tile.x + 8, tile.y + 8, 40, 8);
    bar(c, { x: tile.x + 8, y: tile.y + 26, w: tile.w - 16, h: 10 }, info.cpu, look);
    bar(c, { x: tile.x + 8, y: tile.y + 44, w: tile.w - 16, h: 10 }, info.memory, look);
  } else {
    c.fillStyle = info.stateColor;
    c.beginPath();
    c.arc(x + 3, tile.y + 14, 3.5, 0, 7);
    c.fill();
    c.font = `600 12px ${look.font}`;
    c.fillStyle = look.text;
    c.fillText(cut(c, info.title, tile.w - 90), x + 13, tile.y + 14.5);
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
      bar(c, { x: x + 28, y: y - 2.5, w: tile.w - 46 - 30, h: 5 }, value, look);
      c.textAlign = "right";
      c.fillStyle = look.muted;
      c.fillText(`${Math.round(value * 100)} %`, right, y);
      c.textAlign = "left";
    }
    c.fillText(cut(c, info.traffic, tile.w - 18), x, tile.y + 54);
  }
  c.fillStyle = look.track;
  c.globalAlpha *= TRACK;
  c.fillRect(tile.x + 8, tile.y + HEAD, TILE.w - 16, TILE.h - HEAD - 8);
  c.globalAlpha = 1;
}

/** Makes a place of a tile look as if no machine were there. */
export function clear(c: Canvas, { x, y, w, h }: Rect, dim: boolean, look: Look): void {
  for (const [color, alpha] of [
    [look.ground, 1],
    [look.surface, dim ? DIM : 1],
    [look.track, (dim ? DIM : 1) * TRACK],
  ] as const) {
    c.globalAlpha = alpha;
    c.fillStyle = color;
    // Also its edges, half of the way to what is beside it.
    c.fillRect(x - 0.5, y - 0.5, w, h);
  }
  c.globalAlpha = 1;
}

function bar(c: Canvas, { x, y, w, h }: Rect, value: number, look: Look): void {
  c.fillStyle = look.track;
  c.fillRect(x, y, w, h);
  c.fillStyle = value > 0.9 ? look.warn : look.accent;
  c.fillRect(x, y, w * Math.max(0, Math.min(1, value)), h);
}

function paintPieces(
  c: Canvas,
  tile: Tile,
  { layout, pieces, look }: Scene,
  zoom: number,
  left: ReadonlySet<string>,
): void {
  const isFar = zoom < FAR;
  const gap = isFar ? 0.5 : 1;
  const { length } = tile.machines;
  let [isNarrow, end] = [length > 0 && length <= 5, tile.x];
  for (const { key } of tile.machines) {
    const [rect, piece] = [layout.pieces.get(key), pieces.get(key)];
    if (!rect || !piece || left.has(key)) continue;
    c.globalAlpha = piece.dim ? 0.16 : 1;
    c.fillStyle = piece.color;
    c.fillRect(rect.x, rect.y, Math.max(0.8, rect.w - gap), Math.max(0.8, rect.h - gap));
    const isWide = rect.w * zoom > 34;
    if (isWide) isNarrow = false;
    end = Math.max(end, rect.x + rect.w);
    if (isFar || piece.dim || !isWide || rect.h * zoom <= 15) continue;
    c.font = `500 11px ${look.font}`;
    c.fillStyle = look.surface;
    c.fillText(cut(c, piece.label, rect.w - 8), rect.x + 4, rect.y + Math.min(rect.h / 2, 11));
  }
  const room = tile.x + tile.w - 12 - end;
  // Beside pieces that are too narrow for their names, where there is room.
  if (!isFar && isNarrow && room >= 50) {
    c.font = `400 11px ${look.font}`;
    for (const [i, { key }] of tile.machines.entries()) {
      const piece = pieces.get(key);
      if (!piece || left.has(key)) continue;
      const y = tile.y + HEAD + 9 + i * 14;
      c.globalAlpha = piece.dim ? 0.4 : 1;
      c.fillStyle = piece.color;
      c.fillRect(end + 6, y - 3, 6, 6);
      c.fillStyle = look.text;
      c.fillText(cut(c, piece.label, room - 16), end + 16, y);
    }
  }
  c.globalAlpha = 1;
}
