/** The machine's screen (noVNC). It stays connected while the machine moves; when it is lost it is opened again. */
import RFB from "@novnc/novnc";
import { useEffect, useRef, useState } from "react";
import { Action, Badge } from "../../ui/basics.tsx";
import { toast } from "../../ui/toasts.tsx";
import { messageOf, requestBlob } from "../data/api.ts";
import { objectPath, type VirtualMachine } from "../data/kinds.ts";
import { consoleUrl } from "./ticket.ts";
import { strokesOf } from "./typing.ts";

const AGAIN_MS = 2000;
/** QEMU hands the guest one key event in 10 ms; what comes sooner waits there, and of very much the last is lost. */
const KEY_MS = 12;

export default function Screen({ vm }: { vm: VirtualMachine }) {
  const frame = useRef<HTMLElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const rfb = useRef<RFB>(undefined);
  /** How often it was connected: once, also when the machine moves. */
  const [connections, setConnections] = useState(0);
  const [state, setState] = useState<"connecting" | "connected" | "lost">("connecting");
  const [why, setWhy] = useState("");
  const { uid } = vm.metadata;
  // biome-ignore lint/correctness/useExhaustiveDependencies: one connection for one machine, however its object changes
  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const open = async () => {
      try {
        const url = await consoleUrl(vm, "vnc");
        if (isOver || !place.current) return;
        const made = new RFB(place.current, url, { shared: true });
        made.scaleViewport = true;
        made.background = "#000";
        made.addEventListener("connect", () => {
          setState("connected");
          setConnections((count) => count + 1);
          setWhy("");
          made.focus();
        });
        made.addEventListener("disconnect", () => {
          rfb.current = undefined;
          if (isOver) return;
          setState("lost");
          timer = setTimeout(() => void open(), AGAIN_MS);
        });
        rfb.current = made;
      } catch (error) {
        if (isOver) return;
        setState("lost");
        setWhy(messageOf(error));
        timer = setTimeout(() => void open(), AGAIN_MS);
      }
    };
    void open();
    return () => {
      isOver = true;
      clearTimeout(timer);
      rfb.current?.disconnect();
    };
  }, [uid]);
  const notConnected = state === "connected" ? undefined : "The screen is not connected.";
  // Guests have no agent for VNC's own clipboard: the text is typed, which each of them understands, also before it has booted.
  const paste = async () => {
    const to = rfb.current;
    let text: string;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      toast("bad", "this browser does not let the page read the clipboard");
      return;
    }
    const { strokes, unknown } = strokesOf(text);
    if (unknown.length > 0) {
      toast("bad", `nothing was typed: a US keyboard has no ${unknown.join(" ")}`);
      return;
    }
    to?.focus();
    for (const events of strokes) {
      if (rfb.current !== to) {
        toast("bad", "not all of it was typed: the screen was lost meanwhile");
        return;
      }
      for (const { keysym, code, down } of events) to?.sendKey(keysym, code, down);
      await new Promise((resolve) => setTimeout(resolve, KEY_MS * events.length));
    }
    toast("ok", "typed at the guest's keyboard, as a US one");
  };
  const picture = async () => {
    try {
      const blob = await requestBlob(`${objectPath("virtualmachines", vm.metadata)}/screenshot`, {
        accept: "image/png",
      });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${vm.metadata.name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      toast("bad", messageOf(error));
    }
  };
  return (
    <section className="console" ref={frame} aria-label={`Screen of ${vm.metadata.name}`}>
      <div className="bar">
        <Badge tone={state === "connected" ? "ok" : "warn"} busy={state !== "connected"}>
          {state === "connected" ? "Connected" : state === "lost" ? "Lost; trying again" : "Connecting"}
        </Badge>
        <span className="muted">{why}</span>
        <span className="push row">
          <Action onPress={() => rfb.current?.sendCtrlAltDel()} whyNot={notConnected}>
            Ctrl-Alt-Del
          </Action>
          <Action onPress={() => void paste()} whyNot={notConnected}>
            Paste
          </Action>
          <Action onPress={() => void picture()}>Screenshot</Action>
          <Action onPress={() => void frame.current?.requestFullscreen()}>Full screen</Action>
        </span>
      </div>
      <div className="place" ref={place} data-connections={connections} />
    </section>
  );
}
