/** Dialogs: a question with its answer at hand; what destroys something wants its name typed. */
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { messageOf } from "../src/data/api.ts";
import { toast } from "./toasts.tsx";

export function Dialog({
  title,
  onClose,
  wide,
  stays,
  children,
}: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  /** Neither Escape nor a click beside it closes it. */
  stays?: boolean;
  children: ReactNode;
}) {
  return (
    <ModalOverlay
      className="veil"
      isOpen
      isDismissable={!stays}
      isKeyboardDismissDisabled={stays === true}
      onOpenChange={(isOpen) => !isOpen && onClose()}
    >
      <Modal className={`dialog${wide ? " wide" : ""}`}>
        <AriaDialog>
          <Heading slot="title" level={2}>
            {title}
          </Heading>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

/** A dialog with a form whose answer is sent; what the server says against it stands in the dialog, or is told when that was closed meanwhile. */
export function FormDialog({
  title,
  verb,
  danger,
  typed,
  whyNot,
  onClose,
  onSend,
  onStop,
  children,
}: {
  title: string;
  /** On the button. */
  verb: string;
  danger?: boolean;
  /** Has to be typed before. */
  typed?: string;
  whyNot?: string | undefined;
  onClose: () => void;
  onSend: () => Promise<unknown>;
  /** Of what is sent one by one: sends no more. Until onSend has ended then, the dialog stays. */
  onStop?: () => void;
  children?: ReactNode;
}) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [isStopping, setStopping] = useState(false);
  const [error, setError] = useState<unknown>();
  const isOpen = useRef(true);
  useEffect(() => {
    isOpen.current = true;
    return () => {
      isOpen.current = false;
    };
  }, []);
  const stop = busy ? onStop : undefined;
  const isReady = !busy && !whyNot && (typed === undefined || text === typed);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady) return;
    setBusy(true);
    setError(undefined);
    try {
      await onSend();
      onClose();
    } catch (caught) {
      if (!isOpen.current) toast("bad", messageOf(caught));
      setError(caught);
      setBusy(false);
      setStopping(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose} stays={stop !== undefined}>
      <form onSubmit={submit}>
        <div className="body">
          {children}
          {typed !== undefined && (
            <div className="field">
              <label htmlFor="typed-name">
                Type <code>{typed}</code> to go on
              </label>
              <input
                id="typed-name"
                autoComplete="off"
                spellCheck={false}
                value={text}
                onChange={(event) => setText(event.target.value)}
              />
            </div>
          )}
          {whyNot && <p className="note warn">{whyNot}</p>}
          {error !== undefined && (
            <p className="note bad" role="alert">
              {messageOf(error)}
            </p>
          )}
        </div>
        <footer>
          <button
            type="button"
            className="button"
            disabled={isStopping}
            onClick={() => {
              if (!stop) return onClose();
              setStopping(true);
              stop();
            }}
          >
            {isStopping ? "Stopping…" : stop ? "Stop" : "Cancel"}
          </button>
          <button type="submit" className={`button primary${danger ? " danger" : ""}`} disabled={!isReady}>
            {busy ? "Sending…" : verb}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
