/** Where the user is: the browser's own address, so that every page, filter and selection is a link. */
import { type AnchorHTMLAttributes, type MouseEvent, useCallback, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
const tell = () => {
  for (const listener of listeners) listener();
};
window.addEventListener("popstate", tell);

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (to === location.pathname + location.search) return;
  if (options.replace) history.replaceState(null, "", to);
  else {
    history.pushState(null, "", to);
    window.scrollTo(0, 0);
  }
  tell();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname);
const useSearch = (): string => useSyncExternalStore(subscribe, () => location.search);

/** One parameter of the address, and how to set it; "" takes it away. */
export function useParam(name: string): [string, (value: string) => void] {
  const value = new URLSearchParams(useSearch()).get(name) ?? "";
  const set = useCallback(
    (next: string) => {
      const query = new URLSearchParams(location.search);
      if (next) query.set(name, next);
      else query.delete(name);
      const text = query.toString();
      navigate(location.pathname + (text ? `?${text}` : ""), { replace: true });
    },
    [name],
  );
  return [value, set];
}

/** A link within the UI; with a modifier key it opens as any other. */
export function Link({ href, onClick, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href);
  };
  return <a href={href} onClick={follow} {...rest} />;
}
