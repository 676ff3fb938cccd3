/** The machine's serial port (xterm.js): its last lines first, then what it says. It stays connected while the machine moves. */
import { FitAddon } from "@xterm/addon-fit";
import { Terminal as Xterm } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { useEffect, useRef, useState } from "react";
import { Badge } from "../../ui/basics.tsx";
import { messageOf } from "../data/api.ts";
import type { VirtualMachine } from "../data/kinds.ts";
import { consoleUrl } from "./ticket.ts";

const AGAIN_MS = 2000;

/**
 * The content-security policy lets <style> elements do something only with the page's nonce; xterm.js makes some when it is opened, and takes none
 * by its options (of documentOverride it uses only a part).
 */
function openWithNonce(xterm: Xterm, place: HTMLElement): void {
  const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
  const createElement = document.createElement;
  document.createElement = (name: string, options?: ElementCreationOptions) => {
    const made = createElement.call(document, name, options);
    if (name === "style") made.nonce = nonce;
    return made;
  };
  try {
    xterm.open(place);
  } finally {
    // What stood before it is the prototype's own.
    Reflect.deleteProperty(document, "createElement");
  }
}

export default function Terminal({ vm }: { vm: VirtualMachine }) {
  const place = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<"connecting" | "connected" | "lost">("connecting");
  const [why, setWhy] = useState("");
  /** How often it was connected: once, also when the machine moves. */
  const [connections, setConnections] = useState(0);
  const { uid, name } = vm.metadata;
  // biome-ignore lint/correctness/useExhaustiveDependencies: one connection for one machine, however its object changes
  useEffect(() => {
    if (!place.current) return;
    const xterm = new Xterm({
      convertEol: true,
      cursorBlink: true,
      fontSize: 13,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono").trim(),
      scrollback: 5000,
      screenReaderMode: true,
      theme: { background: "#000000" },
    });
    const fit = new FitAddon();
    xterm.loadAddon(fit);
    openWithNonce(xterm, place.current);
    fit.fit();
    xterm.focus();
    const observer = new ResizeObserver(() => fit.fit());
    observer.observe(place.current);
    let isOver = false;
    let socket: WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const encoder = new TextEncoder();
    xterm.onData((data) => {
      if (socket?.readyState === WebSocket.OPEN) socket.send(encoder.encode(data));
    });
    const again = (reason: string) => {
      if (isOver) return;
      setState("lost");
      setWhy(reason);
      timer = setTimeout(() => void open(), AGAIN_MS);
    };
    const open = async () => {
      try {
        const url = await consoleUrl(vm, "console");
        if (isOver) return;
        socket = new WebSocket(url);
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
          // It begins with its last lines, which would stand here twice.
          xterm.reset();
          setState("connected");
          setConnections((count) => count + 1);
          setWhy("");
        };
        socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) =>
          xterm.write(typeof data === "string" ? data : new Uint8Array(data));
        socket.onclose = ({ reason }) => again(reason);
      } catch (error) {
        again(messageOf(error));
      }
    };
    void open();
    return () => {
      isOver = true;
      clearTimeout(timer);
      observer.disconnect();
      socket?.close();
      xterm.dispose();
    };
  }, [uid]);
  return (
    <section className="console" aria-label={`Serial port of ${name}`}>
      <div className="bar">
        <Badge tone={state === "connected" ? "ok" : "warn"} busy={state !== "connected"}>
          {state === "connected" ? "Connected" : state === "lost" ? "Lost; trying again" : "Connecting"}
        </Badge>
        <span className="muted">{why}</span>
      </div>
      <div className="place pad" ref={place} data-connections={connections} />
    </section>
  );
}
