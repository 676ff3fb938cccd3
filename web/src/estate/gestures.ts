/** The map under the pointer: one drags it, two pinch it, the wheel zooms, a click opens what is there. */
import type { Hit, MapView } from "./view.ts";

export interface GestureListeners {
  onHover: (hit: Hit, x: number, y: number) => void;
  onOpen: (hit: Hit) => void;
}

/** @returns how to stop */
export function followPointer(
  canvas: HTMLCanvasElement,
  view: MapView,
  { onHover, onOpen }: GestureListeners,
): () => void {
  const pointers = new Map<number, { x: number; y: number }>();
  let dragged = false;
  const hover = (hit: Hit, x: number, y: number) => {
    view.hover(hit);
    onHover(hit, x, y);
  };
  const stop = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(
    name: K,
    listener: (event: HTMLElementEventMap[K]) => void,
  ) => canvas.addEventListener(name, listener, { signal: stop.signal, passive: false });
  on("wheel", (event) => {
    event.preventDefault();
    view.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  });
  on("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    dragged = false;
  });
  on("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    if (!before) return hover(view.hitAt(x, y), x, y);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (Math.hypot(x - before.x, y - before.y) > 3) dragged = true;
    if (other) {
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      const is = Math.hypot(x - other.x, y - other.y);
      if (was > 0) view.zoomBy(is / was, (x + other.x) / 2, (y + other.y) / 2);
    } else if (dragged) view.dragBy(x - before.x, y - before.y);
    else return;
    pointers.set(event.pointerId, { x, y });
  });
  const up = (event: PointerEvent) => {
    const was = pointers.delete(event.pointerId);
    if (was && !dragged && event.type === "pointerup") onOpen(view.hitAt(event.offsetX, event.offsetY));
  };
  on("pointerup", up);
  on("pointercancel", up);
  on("pointerleave", () => hover({}, 0, 0));
  return () => stop.abort();
}
