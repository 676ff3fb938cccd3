/**
 * Where everything on the map is: sites beside each other, racks in them, hosts in those as tiles of one size, machines in a tile as pieces whose area is
 * their share of the host's memory. Pure. Lengths are in map units, which are pixels at zoom 1.
 */

export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface MapMachine {
  key: string;
  memoryBytes: number;
}
export interface MapHost {
  name: string;
  site: string;
  rack: string;
  memoryBytes: number;
  /** A tile is taken over from before only if these are the same objects as then. */
  machines: readonly MapMachine[];
}

export interface Tile extends Rect {
  host: string;
  memoryBytes: number;
  machines: readonly MapMachine[];
}
/** A machine's place. */
export interface Piece extends Rect {
  host: string;
}
export interface Group extends Rect {
  name: string;
  level: "site" | "rack";
}
export interface MapLayout {
  tiles: Tile[];
  groups: Group[];
  pieces: Map<string, Piece>;
  width: number;
  height: number;
}

export const TILE = { w: 208, h: 148, gap: 10 };
/** Of a tile, what is above the machines: its name, its bars, and a line of text. */
export const HEAD = 64;
const PAD = 10;
const TITLE = 24;
const GROUP_GAP = 16;

const { compare } = new Intl.Collator("en", { numeric: true });
const byName = <T>(a: [string, T], b: [string, T]) => compare(a[0], b[0]);

/** Width by height of a place, in steps of about a tenth: where a little changes, all stays as it is laid out. */
export const shapeOf = (w: number, h: number): number | undefined =>
  w > 0 && h > 0 ? 1.1 ** Math.round(Math.log(w / h) / Math.log(1.1)) : undefined;

/** How many columns make a block about as wide as the screen is. */
const columnsFor = (count: number, ratio: number) =>
  // A few hosts stand in a line.
  count <= 4 && ratio > 1.2
    ? count
    : Math.max(1, Math.min(count, Math.round(Math.sqrt((count * ratio * TILE.h) / TILE.w))));

/** Blocks in rows, as lines are broken. @returns what they take in all */
function flow(
  blocks: { w: number; h: number; move: (x: number, y: number) => void }[],
  width: number,
): [number, number] {
  let [x, y, line, widest] = [0, 0, 0, 0];
  for (const block of blocks) {
    if (x > 0 && x + block.w > width) [x, y, line] = [0, y + line + GROUP_GAP, 0];
    block.move(x, y);
    widest = Math.max(widest, x + block.w);
    line = Math.max(line, block.h);
    x += block.w + GROUP_GAP;
  }
  return [widest, y + line];
}

/** @param ratio width by height of the place that it is shown in @param before what it was: of that, tiles that would be the same are taken over */
export function layOut(hosts: readonly MapHost[], ratio: number, before?: MapLayout): MapLayout {
  const layout: MapLayout = { tiles: [], groups: [], pieces: new Map(), width: 0, height: 0 };
  const known = new Map(before?.tiles.map((tile) => [tile.host, tile]));
  const sites = Map.groupBy(hosts, ({ site }) => site);
  const area = hosts.length * (TILE.w + TILE.gap) * (TILE.h + TILE.gap) * 1.3;
  // A few stand in a line, if that is not too wide.
  const line = hosts.length <= 4 && ratio > 1.2 ? hosts.length * (TILE.w + 2 * PAD + GROUP_GAP) + 4 * PAD : 0;
  const width = Math.max(TILE.w + 2 * PAD, Math.sqrt(area * ratio), line);
  const showsRacks = hosts.some(({ rack }) => rack !== "");
  const showsSites = showsRacks || hosts.some(({ site }) => site !== "");
  const [sitePad, siteTitle] = showsSites ? [PAD, TITLE] : [0, 0];
  const siteBlocks = [...sites].sort(byName).map(([site, inSite]) => {
    const inside: ((x: number, y: number) => void)[] = [];
    const racks = [...Map.groupBy(inSite, ({ rack }) => rack)].sort(byName).map(([rack, inRack]) => {
      const sorted = inRack.toSorted((a, b) => compare(a.name, b.name));
      const columns = columnsFor(sorted.length, ratio);
      const rows = Math.ceil(sorted.length / columns);
      const top = showsRacks ? TITLE : 0;
      const pad = showsRacks ? PAD : 0;
      const w = columns * (TILE.w + TILE.gap) - TILE.gap + 2 * pad;
      const h = rows * (TILE.h + TILE.gap) - TILE.gap + 2 * pad + top;
      return {
        w,
        h,
        move: (x: number, y: number) =>
          void inside.push((siteX, siteY) => {
            const [atX, atY] = [siteX + x, siteY + y];
            if (showsRacks)
              layout.groups.push({ name: rack || "no rack", level: "rack", x: atX, y: atY, w, h });
            for (const [i, host] of sorted.entries()) {
              const tile = {
                host: host.name,
                memoryBytes: host.memoryBytes,
                machines: host.machines,
                x: atX + pad + (i % columns) * (TILE.w + TILE.gap),
                y: atY + top + pad + Math.floor(i / columns) * (TILE.h + TILE.gap),
                w: TILE.w,
                h: TILE.h,
              };
              const was = known.get(host.name);
              layout.tiles.push(was && isSame(was, tile) ? was : tile);
            }
          }),
      };
    });
    const [w, h] = flow(racks, width - 2 * sitePad);
    const block = { w: w + 2 * sitePad, h: h + 2 * sitePad + siteTitle };
    return {
      ...block,
      move: (x: number, y: number) => {
        if (showsSites) layout.groups.push({ name: site || "no site", level: "site", x, y, ...block });
        for (const place of inside) place(x + sitePad, y + sitePad + siteTitle);
      },
    };
  });
  [layout.width, layout.height] = flow(siteBlocks, width);
  layout.pieces = new Map(before?.pieces);
  const kept = new Set(layout.tiles);
  for (const tile of before?.tiles ?? [])
    if (!kept.has(tile)) for (const { key } of tile.machines) layout.pieces.delete(key);
  for (const tile of layout.tiles) if (known.get(tile.host) !== tile) fill(layout.pieces, tile);
  return layout;
}

const isSame = (a: Tile, b: Tile): boolean =>
  a.x === b.x &&
  a.y === b.y &&
  a.memoryBytes === b.memoryBytes &&
  a.machines.length === b.machines.length &&
  a.machines.every((machine, i) => machine === b.machines[i]);

function fill(pieces: Map<string, Piece>, { machines, ...tile }: Tile): void {
  const room = { x: tile.x + 8, y: tile.y + HEAD, w: tile.w - 16, h: tile.h - HEAD - 8 };
  const total = machines.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  if (total === 0) return;
  const share = Math.min(1, total / Math.max(1, tile.memoryBytes));
  // A sliver is still to be seen.
  const taken = { ...room, w: Math.max(room.w * share, Math.min(room.w, machines.length * 5)) };
  const sorted = machines.toSorted((a, b) => b.memoryBytes - a.memoryBytes || (a.key < b.key ? -1 : 1));
  squarify(sorted, total, taken, (key, rect) => pieces.set(key, { ...rect, host: tile.host }));
}

/** Rows of pieces as square as can be (Bruls, Huizing, van Wijk: Squarified treemaps, 2000). */
function squarify(
  items: readonly MapMachine[],
  total: number,
  room: Rect,
  put: (key: string, rect: Rect) => void,
): void {
  let { x, y, w, h } = room;
  const scale = (w * h) / total;
  let start = 0;
  while (start < items.length) {
    const side = Math.min(w, h);
    let [end, sum, best] = [start, 0, Number.POSITIVE_INFINITY];
    while (end < items.length) {
      const next = sum + (items[end]?.memoryBytes ?? 0) * scale;
      const [most, least] = [
        (items[start]?.memoryBytes ?? 0) * scale,
        (items[end]?.memoryBytes ?? 0) * scale,
      ];
      const worst = Math.max((side * side * most) / (next * next), (next * next) / (side * side * least));
      if (worst > best) break;
      [best, sum, end] = [worst, next, end + 1];
    }
    const thick = sum / side;
    let along = 0;
    for (const { key, memoryBytes } of items.slice(start, end)) {
      const long = (memoryBytes * scale) / thick;
      put(key, w >= h ? { x, y: y + along, w: thick, h: long } : { x: x + along, y, w: long, h: thick });
      along += long;
    }
    if (w >= h) [x, w] = [x + thick, w - thick];
    else [y, h] = [y + thick, h - thick];
    start = end;
  }
}
