/** What we use of noVNC, which has no types of its own; see its docs/API.md. */
declare module "@novnc/novnc" {
  interface Options {
    shared?: boolean;
    wsProtocols?: string[];
  }
  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, url: string, options?: Options);
    scaleViewport: boolean;
    viewOnly: boolean;
    background: string;
    focus(): void;
    disconnect(): void;
    sendCtrlAltDel(): void;
    /** @param code the key's name as in KeyboardEvent.code */
    sendKey(keysym: number, code: string, down: boolean): void;
  }
}
