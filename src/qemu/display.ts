/** A machine's display, as its guest has it and as people see it: the adapter, the pointer that fits it, a picture of the screen. */
import type { Hardware, Slots } from "./board.ts";
import type { Qmp } from "./qmp.ts";

export function attachVideo({ video, board }: Hardware, slots: Slots): void {
  if (board === "isapc")
    slots.add({ driver: video === "cirrus" ? "isa-cirrus-vga" : "isa-vga", id: "video" });
  else slots.addPci({ driver: video === "cirrus" ? "cirrus-vga" : "VGA", id: "video" });
}

/**
 * A pointer that is where the viewer's is. The mouse and keyboard that each PC board has (PS/2) are there all the same: guests of before USB, which are
 * those of Cirrus' adapter, have no other.
 */
export function attachPointer({ video, board }: Hardware, slots: Slots): void {
  if (video !== "vga" || board === "isapc") return;
  slots.ensurePci({ driver: "qemu-xhci", id: "xhci" });
  slots.add({ driver: "usb-tablet", id: "tablet", bus: "xhci.0" });
}

const SCREENDUMP_MS = 10_000;

/** The screen as it is now. QEMU itself writes the file: a PNG. @throws QmpError */
export async function takeScreenshot(qmp: Qmp, file: string): Promise<void> {
  await qmp.execute("screendump", { filename: file, format: "png" }, SCREENDUMP_MS);
}
