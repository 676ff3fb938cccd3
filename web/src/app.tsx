/** The frame around all pages, which page an address means, and the keys that work everywhere. */
import { type ComponentType, Suspense, useEffect, useRef, useState } from "react";
import { Ago } from "../ui/basics.tsx";
import { Icon } from "../ui/icons.tsx";
import { Empty, Loading } from "../ui/states.tsx";
import { Toasts, toast } from "../ui/toasts.tsx";
import { Caught, type Page as LazyPage, page } from "./caught.tsx";
import { messageOf } from "./data/api.ts";
import { reconnectNow, useConnection } from "./data/live.ts";
import { scope, setScope } from "./data/scope.ts";
import { Machines } from "./pages/machines.tsx";
import { Link, navigate, usePath } from "./router.tsx";
import { SECTIONS } from "./sections.ts";
import { signOut, useMe } from "./session.tsx";
import { toggleTheme } from "./theme.ts";

export interface PageProps {
  /** What of the address stands for the page's parameters. */
  parts: readonly string[];
}

const START = "/estate";
const pathOf = (path: string) => path.replace(/(.)\/$/, "$1");

const Palette = page(() => import("./palette.tsx"));

const PAGES: readonly { at: RegExp; page: ComponentType<PageProps> | LazyPage<PageProps> }[] = [
  { at: /^\/machines$/, page: Machines },
  { at: /^\/machines\/new$/, page: page(() => import("./pages/create.tsx")) },
  { at: /^\/machines\/([^/]+)\/([^/]+)(?:\/([a-z]+))?$/, page: page(() => import("./pages/machine.tsx")) },
  { at: /^\/estate$/, page: page(() => import("./pages/estate.tsx")) },
  { at: /^\/hosts$/, page: page(() => import("./pages/hosts.tsx")) },
  { at: /^\/hosts\/([^/]+)(?:\/([a-z]+))?$/, page: page(() => import("./pages/host.tsx")) },
  { at: /^\/director$/, page: page(() => import("./pages/director.tsx")) },
  { at: /^\/director\/new\/([a-z]+)$/, page: page(() => import("./pages/new.tsx")) },
  { at: /^\/director\/(powerpolicies|sites)\/([^/]+)$/, page: page(() => import("./pages/object.tsx")) },
  { at: /^\/director\/policies\/([^/]+)\/([^/]+)$/, page: page(() => import("./pages/policy.tsx")) },
  { at: /^\/director\/plans\/([^/]+)$/, page: page(() => import("./pages/plan.tsx")) },
  { at: /^\/activity$/, page: page(() => import("./pages/activity.tsx")) },
  { at: /^\/images$/, page: page(() => import("./pages/images.tsx")) },
  { at: /^\/images\/import$/, page: page(() => import("./pages/import.tsx")) },
  { at: /^\/images\/new$/, page: page(() => import("./pages/studio.tsx")) },
  { at: /^\/images\/([^/]+)$/, page: page(() => import("./pages/image.tsx")) },
];

/** Has the code of an address's page loaded, before it is known who asks for it. */
export function loadPage(path: string): void {
  const at = pathOf(path);
  const found = PAGES.find((page) => page.at.test(at === "/" ? START : at))?.page;
  if (found && "load" in found) found.load();
}

function Page({ path }: { path: string }) {
  for (const { at, page: Found } of PAGES) {
    const match = at.exec(path);
    if (match) return <Found parts={match.slice(1).map((part) => decodeURIComponent(part ?? ""))} />;
  }
  return (
    <Empty isPage title="There is no such page">
      <p>
        <code>{path}</code> is none of this server. <Link href="/">Go to the start</Link>
      </p>
    </Empty>
  );
}

/** Keys without modifiers, outside of fields and consoles: "/", "c", and "g" with a page's letter. */
function useKeys(search: () => void): void {
  const waitsForPage = useRef(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const { target } = event;
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        search();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (
        target instanceof HTMLElement &&
        (target.isContentEditable ||
          target.closest("input, textarea, select, .console, [role=dialog], [role=menu]"))
      )
        return;
      const isSecond = performance.now() - waitsForPage.current < 1500;
      waitsForPage.current = 0;
      const page = isSecond ? SECTIONS.find(({ key }) => key === event.key) : undefined;
      if (page) navigate(page.path);
      else if (event.key === "g") waitsForPage.current = performance.now();
      else if (event.key === "/") search();
      else if (event.key === "c") navigate("/machines/new");
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [search]);
}

export function App() {
  const path = pathOf(usePath());
  const me = useMe();
  const [isSearching, setSearching] = useState(false);
  const search = useRef(() => setSearching(true)).current;
  useKeys(search);
  useEffect(() => {
    if (path === "/") navigate(START, { replace: true });
  }, [path]);
  const here = SECTIONS.find((section) => path.startsWith(section.path));
  useEffect(() => {
    const of = path.split("/").slice(2).filter(Boolean).join(" / ");
    document.title = here ? `${of ? `${of} · ` : ""}${here.name} · Vireo` : "Vireo";
  }, [path, here]);
  if (path === "/") return null;
  return (
    <div className="frame">
      <a className="skip" href="#main">
        To the content
      </a>
      <header className="top">
        <button type="button" className="search" onClick={search}>
          <Icon name="search" /> Search <kbd>/</kbd>
        </button>
        <span className="grow" />
        <ConnectionNote />
        {scope && (
          <button type="button" className="button quiet" onClick={() => setScope("")}>
            Only {scope} <Icon name="close" /> <span className="unseen">: show all namespaces</span>
          </button>
        )}
        <Link className="button" href="/machines/new">
          <Icon name="add" /> <span className="wide-only">New machine</span>
          <span className="narrow-only">New</span>
        </Link>
        <span className="muted wide-only">{me.data?.username}</span>
        <button type="button" className="button quiet icon" aria-label="Light or dark" onClick={toggleTheme}>
          <Icon name="theme" />
        </button>
        <button type="button" className="button quiet icon" aria-label="Sign out" onClick={leave}>
          <Icon name="out" />
        </button>
      </header>
      <nav className="side" aria-label="Pages">
        <Link className="brand" href="/">
          <img src="/favicon.svg" alt="" width="20" height="20" /> Vireo
        </Link>
        <ul>
          {SECTIONS.map((section) => (
            <li key={section.path}>
              <Link href={section.path} aria-current={section === here ? "page" : undefined}>
                <Icon name={section.icon} />
                {section.name}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <main className="main" id="main" tabIndex={-1}>
        {isSearching && (
          <Caught path={path} onClose={() => setSearching(false)}>
            <Suspense>
              <Palette onClose={() => setSearching(false)} />
            </Suspense>
          </Caught>
        )}
        <Caught path={path}>
          <Suspense fallback={<Loading what="the page" />}>
            <Page path={path} />
          </Suspense>
        </Caught>
      </main>
      <Toasts />
    </div>
  );
}

const leave = () =>
  void signOut().catch((error: unknown) => toast("bad", `You are not signed out: ${messageOf(error)}`));

function ConnectionNote() {
  const { state, since } = useConnection();
  return (
    <span role="status">
      {state === "lost" && (
        <span className="lost">
          <span>
            No connection since <Ago time={new Date(since).toISOString()} />
            <span className="wide-only">: what you see may be old</span>
          </span>
          <button type="button" className="button quiet" onClick={reconnectNow}>
            Try now
          </button>
        </span>
      )}
    </span>
  );
}
