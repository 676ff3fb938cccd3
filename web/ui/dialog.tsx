/** Dialogs: a question with its answer at hand; what destroys something wants its name typed. */
import { type FormEvent, type ReactNode, useState } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { messageOf } from "../src/data/api.ts";

export function Dialog({
  title,
  onClose,
  wide,
  children,
}: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ReactNode;
}) {
  return (
    <ModalOverlay className="veil" isOpen isDismissable onOpenChange={(isOpen) => !isOpen && onClose()}>
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

/** A dialog with a form whose answer is sent; what the server says against it stands in the dialog. */
export function FormDialog({
  title,
  verb,
  danger,
  typed,
  whyNot,
  onClose,
  onSend,
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
  children?: ReactNode;
}) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
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
      setError(caught);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
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
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className={`button primary${danger ? " danger" : ""}`} disabled={!isReady}>
            {busy ? "Sending…" : verb}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
