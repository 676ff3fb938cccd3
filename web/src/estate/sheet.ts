/**
 * Pictures of what stands still on the map. One is shown, somewhat larger than what is in sight, so that the map can be dragged some way before another one
 * must be there. When it is not good any more, the next one is painted beside it (paint.ts), a few milliseconds of each frame, until it takes its place:
 *
 *   next, being painted ──► shown ──► spare, to be painted on again ──► let go, when nothing was painted for a while
 */
import { paint } from "./paint.ts";
import type { Camera, Scene } from "./scene.ts";

/** What a sheet is of. */
export interface View {
  scene: Scene;
  camera: Camera;
  /** In CSS pixels. */
  w: number;
  h: number;
  /** Pixels of the display in one of CSS. */
  ratio: number;
  /** A newer one makes a sheet old. */
  version: number;
  /** Machines that are left out: they are on their way. */
  left: ReadonlySet<string>;
}

export interface Sheet extends View {
  context: OffscreenCanvasRenderingContext2D;
}

/** Of a frame, for the next sheet; for the first one more: there is nothing yet that could move. */
const PAINT_MS = 5;
const FIRST_MS = 250;
/** Of what is in sight, on each side of it. */
const MARGIN = 0.25;
/** A sheet for a large display takes 120 MB, so a second one is kept only as long as sheets follow each other. */
const SPARE_MS = 3000;

export class Sheets {
  shown: Sheet | undefined;
  #next: { sheet: Sheet; painting: Generator<void, void> } | undefined;
  #spare: OffscreenCanvasRenderingContext2D | undefined;
  #rest: ReturnType<typeof setTimeout> | undefined;

  /** @returns whether what is shown is of all that there is, and sharp */
  paintSome(view: View): boolean {
    if (isGood(this.shown, view)) return true;
    this.#next ??= this.#begin(view);
    if (!this.#next) return true;
    const { sheet, painting } = this.#next;
    const end = performance.now() + (this.shown ? PAINT_MS : FIRST_MS);
    do {
      const { done } = painting.next();
      // A canvas keeps what it is told and draws it when it is full, or looked at: each part now, where it counts, not several frames' parts in one of the next.
      sheet.context.getImageData(0, 0, 1, 1);
      if (!done) continue;
      this.#next = undefined;
      this.#spare = this.shown?.context;
      this.shown = sheet;
      this.#rest = setTimeout(() => this.#letGo(), SPARE_MS);
      return isGood(sheet, view);
    } while (performance.now() < end);
    return false;
  }

  close(): void {
    clearTimeout(this.#rest);
    this.#letGo();
  }

  #begin(view: View): { sheet: Sheet; painting: Generator<void, void> } | undefined {
    const { w, h, ratio, camera } = view;
    clearTimeout(this.#rest);
    // Whole pixels of the display, so that the sheet is drawn as it was painted.
    const [marginX, marginY] = [Math.ceil(w * MARGIN * ratio), Math.ceil(h * MARGIN * ratio)];
    const [width, height] = [Math.round(w * ratio) + 2 * marginX, Math.round(h * ratio) + 2 * marginY];
    const context = this.#contextOf(width, height);
    if (!context) return undefined;
    const sheet: Sheet = {
      ...view,
      context,
      w: width / ratio,
      h: height / ratio,
      camera: { zoom: camera.zoom, x: camera.x + marginX / ratio, y: camera.y + marginY / ratio },
    };
    return { sheet, painting: paint(context, sheet.scene, sheet.camera, sheet, sheet.left) };
  }

  /** Of the spare one, if there is one. */
  #contextOf(width: number, height: number): OffscreenCanvasRenderingContext2D | null {
    const spare = this.#spare;
    this.#spare = undefined;
    // In the page's own memory, also where there is a GPU: it is looked at after each part (see above), which a GPU would have to be waited for.
    if (!spare)
      return new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true });
    const { canvas } = spare;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    return spare;
  }

  #letGo(): void {
    // At once: what is only forgotten is freed some time.
    if (this.#spare) [this.#spare.canvas.width, this.#spare.canvas.height] = [0, 0];
    this.#spare = undefined;
  }
}

function isGood(sheet: Sheet | undefined, { camera: { zoom, x, y }, w, h, ratio, version }: View): boolean {
  if (!sheet || sheet.version !== version || sheet.camera.zoom !== zoom || sheet.ratio !== ratio)
    return false;
  const [left, top] = [x - sheet.camera.x, y - sheet.camera.y];
  return left <= 0 && top <= 0 && left + sheet.w >= w && top + sheet.h >= h;
}
