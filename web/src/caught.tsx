/** A page whose code cannot be had, or that failed: the rest goes on, and says so in its place. */
import { Component, type ComponentType, lazy, type ReactNode, useState } from "react";
import { messageOf } from "./data/api.ts";
import { loaded, OutOfDate } from "./loaded.ts";

export interface Page<P> {
  (props: P): ReactNode;
  /** Has its code loaded. Once that is there the page appears at once: React shows what a page is waited for with for 300 ms at least. */
  load: () => void;
}

/** As React's lazy, but without a control plane it waits for one, as lists do. */
export function page<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): Page<P> {
  let known: ComponentType<P> | undefined;
  const get = async () => {
    const made = await loaded(load);
    known = made.default;
    return made;
  };
  const Later = lazy(get);
  const Shown = (props: P) => {
    // One and the same for as long as it is shown.
    const [Found] = useState(() => known ?? Later);
    return <Found {...props} />;
  };
  // Whoever needs it is told what is wrong.
  return Object.assign(Shown, { load: () => void get().catch(() => {}) });
}

interface Props {
  /** Another one is another try. */
  path: string;
  /** Of what can be done without: called when the user is done with the note. */
  onClose?: () => void;
  children: ReactNode;
}

export class Caught extends Component<Props, { error: unknown }> {
  override state: { error: unknown } = { error: undefined };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidUpdate(before: Props): void {
    if (before.path !== this.props.path && this.state.error !== undefined)
      this.setState({ error: undefined });
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div className="state" role="alert">
        <h1>{error instanceof OutOfDate ? "Vireo was updated" : "This page failed"}</h1>
        <p>{messageOf(error)}</p>
        <button type="button" className="button" onClick={() => location.reload()}>
          Load it anew
        </button>
        {this.props.onClose && (
          <button type="button" className="button quiet" onClick={this.props.onClose}>
            Close
          </button>
        )}
      </div>
    );
  }
}
