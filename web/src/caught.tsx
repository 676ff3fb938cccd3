/** A page whose code cannot be had, or that failed: the rest goes on, and says so in its place. */
import { Component, type ComponentType, type LazyExoticComponent, lazy, type ReactNode } from "react";
import { messageOf } from "./data/api.ts";

const AGAIN_MS = 2000;

/** The server answers, and yet has not what is asked for: it is another version by now. */
class OutOfDate extends Error {}

/** As React's, but without a control plane it waits for one, as lists do. */
export function page<P>(
  load: () => Promise<{ default: ComponentType<P> }>,
): LazyExoticComponent<ComponentType<P>> {
  return lazy(async () => {
    for (;;)
      try {
        return await load();
      } catch (cause) {
        const { ok } = await fetch("/", { cache: "no-store" }).catch(() => ({ ok: false }));
        if (ok) throw new OutOfDate("The server has another version of these pages.", { cause });
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
  });
}

interface Props {
  /** Another one is another try. */
  path: string;
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
      </div>
    );
  }
}
